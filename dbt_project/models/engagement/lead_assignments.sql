select
    lead_key,
    customer_id,
    sales_id,
    assigned_on,
    is_new,
    score,
    value_cents,
    reason
from {{ source('engagement', 'lead_assignments') }}
