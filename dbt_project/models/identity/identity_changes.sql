select
    changed_on,
    reason,
    old_id,
    new_id,
    run_id
from {{ source('identity', 'identity_changes') }}
