select
    'household_id' as identifier_type,
    cast(household_id as varchar) as identifier_value,
    cast(campaign_id as varchar) as campaign_id
from {{ source_rows('campaign_tool', 'campaigns') }} as campaigns
