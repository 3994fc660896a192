with touches as (
    select
        customer_id,
        cast(count(*) as integer) as campaigns_received,
        cast(count(*) filter (where is_redeemed) as integer) as campaigns_redeemed,
        max(sent_on) as last_campaign_on
    from {{ ref('campaign_touches') }}
    group by customer_id
),

redemptions as (
    select
        customer_id,
        cast(count(*) as integer) as coupons_redeemed_52_weeks
    from {{ ref('coupon_redemptions') }}
    where redeemed_on > {{ add_days(as_of(), -364) }}
    group by customer_id
),

departments as (
    select
        lines.customer_id,
        products.department,
        sum(lines.amount_cents) as spend_cents
    from {{ ref('order_lines') }} as lines
    inner join {{ ref('products') }} as products
        on
            lines.source = products.source
            and lines.product_id = products.product_id
    where lines.ordered_on > {{ add_days(as_of(), -364) }}
    group by lines.customer_id, products.department
),

favourites as (
    select
        customer_id,
        department as main_department
    from departments
    where department is not null
    qualify row_number() over (partition by customer_id order by spend_cents desc, department asc) = 1
),

stores as (
    select
        customer_id,
        store_id as main_store_id
    from {{ ref('orders') }}
    where ordered_on > {{ add_days(as_of(), -364) }}
    group by customer_id, store_id
    qualify row_number() over (partition by customer_id order by count(*) desc, store_id asc) = 1
)

select
    customers.customer_id,
    {{ as_of() }} as as_of,
    -- who
    customers.age_band,
    customers.income_band,
    customers.home_ownership,
    customers.marital_status,
    customers.household_size,
    customers.household_composition,
    customers.kids_count,
    -- value
    customer_values.value_tier,
    customer_values.recency_score,
    customer_values.frequency_score,
    customer_values.monetary_score,
    customer_values.spend_52_weeks_cents,
    customer_values.spend_total_cents,
    -- buying
    features.first_on as first_order_on,
    features.last_on as last_order_on,
    features.tenure_days as days_since_first_order,
    features.recency_days as days_since_last_order,
    features.orders_total,
    features.orders_52w as orders_52_weeks,
    features.orders_13w as orders_13_weeks,
    favourites.main_department,
    stores.main_store_id,
    -- engagement
    coalesce(touches.campaigns_received, 0) as campaigns_received,
    coalesce(touches.campaigns_redeemed, 0) as campaigns_redeemed,
    touches.last_campaign_on,
    coalesce(redemptions.coupons_redeemed_52_weeks, 0) as coupons_redeemed_52_weeks,
    -- risk
    churn.churn_probability,
    churn.horizon_days as churn_horizon_days,
    churn.reason_1 as churn_reason,
    churn.value_at_risk_cents,
    -- data trust
    customers.has_profile,
    customers.source_systems,
    customers.first_seen_on,
    customers.last_seen_on,
    collection.has_basic,
    collection.has_behavioural,
    collection.has_active,
    collection.next_question,
    collection.next_question_reason
from {{ ref('customers') }} as customers
left join {{ ref('customer_features') }} as features
    on customers.customer_id = features.customer_id
left join {{ ref('customer_value') }} as customer_values
    on customers.customer_id = customer_values.customer_id
left join {{ ref('churn_risk') }} as churn
    on customers.customer_id = churn.customer_id
left join {{ ref('customer_collection') }} as collection
    on customers.customer_id = collection.customer_id
left join touches on customers.customer_id = touches.customer_id
left join redemptions on customers.customer_id = redemptions.customer_id
left join favourites on customers.customer_id = favourites.customer_id
left join stores on customers.customer_id = stores.customer_id
