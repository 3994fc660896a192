select
    holdout_id,
    customer_id,
    campaign,
    arm,
    arm_assigned,
    assigned_customer_id,
    assigned_on
from {{ source('engagement', 'holdouts') }}
