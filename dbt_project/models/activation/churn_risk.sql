select
    churn.customer_id,
    churn.as_of,
    churn.horizon_days,
    churn.churn_probability,
    churn.is_prior,
    churn.reason_1,
    churn.reason_2,
    churn.reason_3,
    -- What is expected of the customer within the horizon, times the risk that nothing comes; where
    -- there is no forecast, what was spent in such a time.
    cast(round(
        churn.churn_probability * coalesce(
            customer_values.expected_spend_cents,
            customer_values.spend_52_weeks_cents * churn.horizon_days / 364.0
        )
    ) as bigint) as value_at_risk_cents,
    churn.model_version
from {{ source('scores', 'churn') }} as churn
inner join {{ ref('customer_value') }} as customer_values
    on churn.customer_id = customer_values.customer_id
