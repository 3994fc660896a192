select
    old_id,
    new_id,
    reason
from {{ source('identity', 'customer_id_map') }}
