-- The tool keeps a mailing list, not messages: who is on it was sent one when the campaign began.
select
    'household_id' as identifier_type,
    cast(household_id as varchar) as identifier_value,
    md5('household_id:' || cast(household_id as varchar) || ':' || cast(campaign_id as varchar)) as send_id,
    cast(campaign_id as varchar) as campaign_id
from {{ source_rows('campaign_tool', 'campaigns') }} as campaigns
