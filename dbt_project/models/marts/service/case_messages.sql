{{ config(
    materialized='incremental',
    piece="message_key",
    fed_by={'union_case_messages': "source || '-' || message_id"},
    order_by='customer_id, sent_at'
) }}

select
    source || '-' || message_id as message_key,
    source || '-' || case_id as case_key,
    customer_id,
    source,
    seq,
    sender,
    article_id,
    text_key,
    sent_at,
    {{ local_day('sent_at') }} as sent_on
from {{ identified('case_messages') }} as messages
