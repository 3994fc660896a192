-- An alert is raised for a customer whose tier is worth it and whose risk is over the line.
{%- set alert = var('churn_alert') %}
with tiers as (
    {%- for tier in alert.tiers %}
    select
        '{{ tier.name }}' as value_tier,
        '{{ tier.owner | replace("'", "''") }}' as owner,
        '{{ tier.action | replace("'", "''") }}' as suggested_action
    union all
    {%- endfor %}
    select
        cast(null as varchar) as value_tier,
        cast(null as varchar) as owner,
        cast(null as varchar) as suggested_action
)

select
    -- The same for as long as the customer stays away: a tool can follow it from day to day.
    'a' || substr(md5(
        customers.customer_id || '|churn|' || cast(customers.last_order_on as varchar)
    ), 1, 24) as alert_id,
    customers.customer_id,
    'churn' as kind,
    customers.last_order_on as started_on,
    customers.value_tier,
    customers.churn_probability,
    customers.churn_horizon_days as horizon_days,
    risk.reason_1,
    risk.reason_2,
    risk.reason_3,
    customers.value_at_risk_cents,
    tiers.owner,
    tiers.suggested_action,
    {{ add_days('customers.as_of', alert.expires_after_days) }} as expires_on
from {{ ref('customer_360') }} as customers
inner join tiers on customers.value_tier = tiers.value_tier
inner join {{ ref('churn_risk') }} as risk on customers.customer_id = risk.customer_id
where customers.churn_probability >= {{ alert.min_probability }}
