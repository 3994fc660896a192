select
    alert_id,
    customer_id,
    kind,
    started_on,
    raised_on,
    is_new,
    value_tier,
    churn_probability,
    horizon_days,
    reason_1,
    reason_2,
    reason_3,
    value_at_risk_cents,
    owner,
    suggested_action,
    expires_on
from {{ source('engagement', 'churn_alerts') }}
