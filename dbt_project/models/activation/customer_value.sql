select
    rules.customer_id,
    rules.as_of,
    rules.days_since_last_order,
    rules.orders_52_weeks,
    rules.spend_52_weeks_cents,
    rules.spend_total_cents,
    rules.recency_score,
    rules.frequency_score,
    rules.monetary_score,
    rules.value_tier,
    forecasts.horizon_days,
    forecasts.expected_orders,
    forecasts.expected_orders_low,
    forecasts.expected_orders_high,
    forecasts.expected_spend_cents,
    forecasts.expected_spend_low_cents,
    forecasts.expected_spend_high_cents,
    forecasts.expected_tier,
    forecasts.model_version as value_model_version
from {{ ref('customer_rfm') }} as rules
left join {{ source('scores', 'value') }} as forecasts
    on rules.customer_id = forecasts.customer_id
