select
    record_a,
    record_b,
    customer_a,
    customer_b,
    probability,
    together,
    why,
    kinds,
    cast(to_json(reasons) as varchar) as reasons,
    against
from {{ source('identity', 'identity_reviews') }}
