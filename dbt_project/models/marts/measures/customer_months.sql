-- Every month in which a customer did something, and those after it in which it still counts as one that
-- was active: two spans of active_months.
{%- set span = var('active_months') %}
with purchase_days as (
    select
        customer_id,
        ordered_on,
        sum(case when amount_cents >= 0 then 1 else 0 end) as orders,
        sum(amount_cents) as spend_cents
    from {{ ref('orders') }}
    where customer_id is not null
    group by customer_id, ordered_on
),

-- Days of refunds only stand in a partition of their own.
purchases as (
    select
        customer_id,
        ordered_on,
        orders,
        spend_cents,
        case
            when orders > 0
                then lag(ordered_on) over (partition by customer_id, orders > 0 order by ordered_on)
        end as previous_on
    from purchase_days
),

bought as (
    select
        customer_id,
        {{ first_of_month('ordered_on') }} as month,
        sum(orders) as orders,
        sum(spend_cents) as spend_cents,
        sum(case when orders > 0 then 1 else 0 end) as purchase_days,
        count(previous_on) as repurchases,
        sum({{ days_between('previous_on', 'ordered_on') }}) as days_since_previous_purchase
    from purchases
    group by customer_id, {{ first_of_month('ordered_on') }}
),

touched as (
    select
        customer_id,
        {{ first_of_month('occurred_on') }} as month,
        sum(case when direction = 'inbound' then 1 else 0 end) as contacts_inbound,
        sum(case when direction = 'outbound' then 1 else 0 end) as contacts_outbound
    from {{ ref('customer_touchpoints') }}
    where customer_id is not null and occurred_on <= {{ as_of() }}
    group by customer_id, {{ first_of_month('occurred_on') }}
),

served as (
    select
        customer_id,
        {{ first_of_month('opened_on') }} as month,
        count(*) as cases,
        sum(case when is_complaint then 1 else 0 end) as complaints,
        sum(satisfaction) as satisfaction_sum,
        count(satisfaction) as satisfaction_answers
    from {{ ref('service_cases') }}
    where customer_id is not null
    group by customer_id, {{ first_of_month('opened_on') }}
),

registered as (
    select
        customer_id,
        min(registered_on) as registered_on
    from (
        select
            customer_id,
            first_seen_on as registered_on
        from {{ ref('customer_identifiers') }}
        where learned_to is null and {{ is_source_of_stage('source', 'basic') }}
        union all
        select
            customer_id,
            {{ local_day('joined_at') }} as registered_on
        from {{ ref('loyalty_accounts') }}
        where customer_id is not null
    ) as registrations
    group by customer_id
),

began as (
    select
        customers.customer_id,
        {{ first_of_month('customers.first_seen_on') }} as first_seen_month,
        {{ first_of_month('registered.registered_on') }} as registered_month,
        customers.province_code
    from {{ ref('customers') }} as customers
    left join registered on customers.customer_id = registered.customer_id
),

spans as (
    select
        customer_id,
        min(month) as first_month,
        max(month) as last_month
    from (
        select
            customer_id,
            month
        from bought
        union all
        select
            customer_id,
            month
        from touched
        union all
        select
            customer_id,
            month
        from served
        union all
        select
            customer_id,
            first_seen_month as month
        from began
        where first_seen_month is not null
    ) as events
    group by customer_id
),

months as (
    {{ months_from('(select min(first_month) from spans)', first_of_month(as_of())) }}
),

facts as (
    select
        spans.customer_id,
        months.month,
        began.first_seen_month,
        began.registered_month,
        began.province_code,
        coalesce(bought.orders, 0) as orders,
        coalesce(bought.spend_cents, 0) as spend_cents,
        coalesce(bought.purchase_days, 0) as purchase_days,
        coalesce(bought.repurchases, 0) as repurchases,
        bought.days_since_previous_purchase,
        coalesce(touched.contacts_inbound, 0) as contacts_inbound,
        coalesce(touched.contacts_outbound, 0) as contacts_outbound,
        coalesce(served.cases, 0) as cases,
        coalesce(served.complaints, 0) as complaints,
        served.satisfaction_sum,
        coalesce(served.satisfaction_answers, 0) as satisfaction_answers
    from spans
    inner join months
        on
            spans.first_month <= months.month
            and months.month <= {{ add_months('spans.last_month', 2 * span - 1) }}
    inner join began on spans.customer_id = began.customer_id
    left join bought on spans.customer_id = bought.customer_id and months.month = bought.month
    left join touched on spans.customer_id = touched.customer_id and months.month = touched.month
    left join served on spans.customer_id = served.customer_id and months.month = served.month
),

-- A customer's months stand without a gap, so that rows are months.
windows as (
    select
        *,
        min(case when purchase_days > 0 then month end) over (partition by customer_id) as first_order_month,
        sum(orders) over (
            partition by customer_id order by month rows between unbounded preceding and current row
        ) as orders_to_date,
        sum(spend_cents) over (
            partition by customer_id order by month rows between unbounded preceding and current row
        ) as spend_to_date_cents,
        sum(spend_cents) over (
            partition by customer_id order by month rows between 11 preceding and current row
        ) as spend_12_months_cents,
        sum(purchase_days) over (
            partition by customer_id order by month rows between 11 preceding and current row
        ) as purchase_days_12_months,
        sum(purchase_days) over (
            partition by customer_id order by month rows between {{ span - 1 }} preceding and current row
        ) > 0 as is_active,
        coalesce(
            sum(purchase_days) over (
                partition by customer_id order by month rows between {{ span }} preceding and 1 preceding
            ), 0
        ) > 0 as was_active_last_month,
        coalesce(
            sum(purchase_days) over (
                partition by customer_id order by month
                rows between {{ 2 * span - 1 }} preceding and {{ span }} preceding
            ), 0
        ) > 0 as was_active
    from facts
),

ranked as (
    select
        *,
        -- From the lowest tier, 1, to the highest; null before the first purchase.
        case
            when first_order_month is null or month < first_order_month then null
            {%- for tier in var('value_tiers') %}
            when spend_12_months_cents >= {{ tier.from_cents }} then {{ loop.length - loop.index0 }}
            {%- endfor %}
            else 1
        end as tier_rank
    from windows
),

steps as (
    select
        *,
        lag(tier_rank) over (partition by customer_id order by month) as previous_tier_rank,
        lag(tier_rank, {{ span }}) over (partition by customer_id order by month) as earlier_tier_rank
    from ranked
)

select
    customer_id,
    month,
    first_order_month,
    province_code,
    cast(orders as integer) as orders,
    cast(spend_cents as bigint) as spend_cents,
    cast(purchase_days as integer) as purchase_days,
    cast(repurchases as integer) as repurchases,
    cast(days_since_previous_purchase as integer) as days_since_previous_purchase,
    cast(contacts_inbound as integer) as contacts_inbound,
    cast(contacts_outbound as integer) as contacts_outbound,
    cast(cases as integer) as cases,
    cast(complaints as integer) as complaints,
    cast(satisfaction_sum as integer) as satisfaction_sum,
    cast(satisfaction_answers as integer) as satisfaction_answers,
    cast(orders_to_date as integer) as orders_to_date,
    cast(spend_to_date_cents as bigint) as spend_to_date_cents,
    cast(spend_12_months_cents as bigint) as spend_12_months_cents,
    cast(purchase_days_12_months as integer) as purchase_days_12_months,
    {{ tier_name('tier_rank') }} as value_tier,
    {{ tier_name('previous_tier_rank') }} as previous_value_tier,
    {{ tier_name('earlier_tier_rank') }} as earlier_value_tier,
    cast(tier_rank - previous_tier_rank as integer) as tier_step,
    coalesce(tier_rank = {{ var('value_tiers') | length }}, false) as is_high_value,
    coalesce(month = first_seen_month, false) as is_first_seen,
    coalesce(registered_month <= month, false) as is_registered,
    coalesce(month = first_order_month, false) as is_new,
    is_active,
    was_active,
    purchase_days > 0 and month > first_order_month and not was_active_last_month as is_won_back
from steps
