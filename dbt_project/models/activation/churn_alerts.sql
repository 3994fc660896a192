-- An alert is raised for a customer whose tier is worth it and whose risk is over the line.
{%- set alert = var('churn_alert') %}
with alerts as (
    select
        customer_id,
        as_of,
        last_order_on as started_on,
        value_tier,
        churn_probability,
        churn_horizon_days,
        value_at_risk_cents
    from {{ ref('customer_360') }}
    where
        churn_probability >= {{ alert.min_probability }}
        and value_tier in ({% for tier in alert.tiers %}'{{ tier.name }}'{{ ", " if not loop.last }}{% endfor %}{{ "''" if not alert.tiers }})
)

select
    -- The same for as long as the customer stays away: a tool can follow it from day to day.
    'a' || substr(md5(
        alerts.customer_id || '|churn|' || cast(alerts.started_on as varchar)
    ), 1, 24) as alert_id,
    alerts.customer_id,
    'churn' as kind,
    alerts.started_on,
    alerts.value_tier,
    alerts.churn_probability,
    alerts.churn_horizon_days as horizon_days,
    risk.reason_1,
    risk.reason_2,
    risk.reason_3,
    alerts.value_at_risk_cents,
    case alerts.value_tier
        {%- for tier in alert.tiers %}
        when '{{ tier.name }}' then '{{ tier.owner | replace("'", "''") }}'
        {%- endfor %}
        else ''
    end as owner,
    case alerts.value_tier
        {%- for tier in alert.tiers %}
        when '{{ tier.name }}' then '{{ tier.action | replace("'", "''") }}'
        {%- endfor %}
        else ''
    end as suggested_action,
    {{ add_days('alerts.as_of', alert.expires_after_days) }} as expires_on
from alerts
inner join {{ ref('churn_risk') }} as risk on alerts.customer_id = risk.customer_id
