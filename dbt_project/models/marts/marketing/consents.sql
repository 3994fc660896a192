{{ config(
    materialized='incremental',
    piece="consent_key",
    fed_by={'union_consents': "source || '-' || consent_id"},
    order_by='customer_id',
    uncompressed='customer_id'
) }}

select
    source || '-' || consent_id as consent_key,
    customer_id,
    source,
    consent_id,
    purpose,
    channel,
    is_granted,
    legal_basis,
    captured_in,
    captured_at,
    withdrawn_at
from {{ identified('consents') }} as consents
