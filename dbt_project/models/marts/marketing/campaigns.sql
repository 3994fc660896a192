select
    source || '-' || campaign_id as campaign_key,
    campaign_id,
    source,
    campaign_type,
    name,
    channel,
    starts_on,
    ends_on
from {{ ref('union_campaigns') }}
where starts_on <= {{ as_of() }}
