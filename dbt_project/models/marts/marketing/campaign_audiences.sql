{{ config(
    materialized='incremental',
    piece="audience_key",
    fed_by={
        'union_campaign_audiences':
            "source || '-' || campaign_id || '-' || md5(identifier_type || ':' || identifier_value)"
    },
    order_by='customer_id'
) }}

select
    source || '-' || campaign_id || '-' || md5(identifier_type || ':' || identifier_value) as audience_key,
    source || '-' || campaign_id as campaign_key,
    customer_id,
    source,
    arm,
    assigned_at
from {{ identified('campaign_audiences') }} as audience
