select
    trigger_id,
    customer_id,
    trigger,
    subject,
    seen_on,
    fired_on,
    is_new,
    until_on,
    plan_on,
    purpose,
    owner,
    template,
    variables
from {{ source('engagement', 'triggered_touches') }}
