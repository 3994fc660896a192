{{ config(
    materialized='incremental',
    piece="response_key",
    fed_by={'union_campaign_responses': "source || '-' || response_id"},
    order_by='customer_id'
) }}

select
    source || '-' || response_id as response_key,
    source || '-' || campaign_id as campaign_key,
    source || '-' || send_id as message_key,
    customer_id,
    source,
    kind,
    responded_at,
    {{ local_day('responded_at') }} as responded_on
from {{ identified('campaign_responses') }} as responses
