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
