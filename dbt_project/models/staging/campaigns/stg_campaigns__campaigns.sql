select
    cast(campaign_id as varchar) as campaign_id,
    kind as campaign_type,
    name,
    channel,
    {{ local_day('starts_at') }} as starts_on,
    {{ local_day('ends_at') }} as ends_on
from {{ source_rows('campaigns', 'campaigns') }} as campaigns
