select
    task_id,
    customer_id,
    kind,
    occasion,
    occasion_on,
    plan_on,
    purpose,
    owner,
    template,
    variables,
    coupon_cents
from {{ source('engagement', 'care_tasks') }}
