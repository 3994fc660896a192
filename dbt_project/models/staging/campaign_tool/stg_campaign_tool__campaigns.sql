select
    cast(campaign_id as varchar) as campaign_id,
    campaign_type,
    'mail' as channel,
    start_date as starts_on,
    end_date as ends_on
from {{ source_rows('campaign_tool', 'campaign_descriptions') }} as campaign_descriptions
