select
    delivery_id,
    destination,
    customer_id,
    object,
    change,
    status,
    reason,
    failed_runs,
    tries,
    answer,
    run_id,
    answered_at
from {{ source('engagement', 'deliveries') }}
