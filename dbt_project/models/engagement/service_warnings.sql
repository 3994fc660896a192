select
    warning_id,
    kind,
    subject,
    customer_id,
    since_on,
    severity,
    reason,
    owner,
    next_step,
    expires_on
from {{ source('engagement', 'service_warnings') }}
