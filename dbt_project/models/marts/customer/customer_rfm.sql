-- Quintiles rank customers who bought within 52 weeks: 5 is best. Ties are broken by customer so
-- that a rerun gives the same cell.
with features as (
    select * from {{ ref('customer_features') }}
),

active as (
    select
        customer_id,
        6 - ntile(5) over (order by recency_days, customer_id) as recency_score,
        ntile(5) over (order by orders_52w, customer_id) as frequency_score,
        ntile(5) over (order by spend_cents_52w, customer_id) as monetary_score
    from features
    where orders_52w > 0
)

select
    features.customer_id,
    features.as_of,
    features.recency_days as days_since_last_order,
    features.orders_52w as orders_52_weeks,
    features.spend_cents_52w as spend_52_weeks_cents,
    features.spend_cents_total as spend_total_cents,
    cast(coalesce(active.recency_score, 0) as integer) as recency_score,
    cast(coalesce(active.frequency_score, 0) as integer) as frequency_score,
    cast(coalesce(active.monetary_score, 0) as integer) as monetary_score,
    case
        {%- for tier in var('value_tiers') %}
        when features.spend_cents_52w >= {{ tier.from_cents }} then '{{ tier.name }}'
        {%- endfor %}
        else '{{ var("value_tiers")[-1].name }}'
    end as value_tier
from features
left join active on features.customer_id = active.customer_id
