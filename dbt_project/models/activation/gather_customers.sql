{{ config(materialized='table', database='workspace', schema='unify') }}

-- All of customer_360 but what follows from it, in the order and the groups of its YAML. Each fact is
-- added up by customer before it is joined, so that a customer with a hundred thousand events is one row
-- like any other.
with touches as (
    select
        customer_id,
        cast(count(*) filter (where is_delivered) as integer) as campaigns_received,
        cast(count(*) filter (where is_redeemed) as integer) as campaigns_redeemed,
        cast(count(*) filter (where is_opened) as integer) as campaigns_opened,
        cast(count(*) filter (where is_clicked) as integer) as campaigns_clicked,
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
            lines.catalogue = products.source
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
    where ordered_on > {{ add_days(as_of(), -364) }} and store_id is not null
    group by customer_id, store_id
    qualify row_number() over (partition by customer_id order by count(*) desc, store_id asc) = 1
),

cases as (
    select
        customer_id,
        cast(count(*) filter (where opened_on > {{ add_days(as_of(), -364) }}) as integer) as cases_52_weeks,
        cast(count(*) filter (where status <> 'closed') as integer) as open_cases,
        max(opened_on) as last_case_on,
        max_by(topic, opened_at) as last_case_topic,
        max_by(satisfaction, opened_at) filter (where satisfaction is not null) as last_case_satisfaction
    from {{ ref('service_cases') }}
    group by customer_id
),

owned as (
    select
        customer_id,
        cast(count(*) as integer) as products_owned,
        min(warranty_until) filter (where is_in_warranty) as next_warranty_end_on
    from {{ ref('installed_products') }}
    group by customer_id
),

repaired as (
    select
        customer_id,
        cast(count(*) as integer) as repairs_total,
        max(visited_on) as last_repair_on
    from {{ ref('repairs') }}
    group by customer_id
),

points as (
    select
        customer_id,
        cast(sum(points_balance) as bigint) as points_balance
    from {{ ref('loyalty_accounts') }}
    group by customer_id
),

voices as (
    select
        customer_id,
        max_by(nps, given_at) filter (where nps is not null) as last_nps,
        max_by(csat, given_at) filter (where csat is not null) as last_csat
    from {{ ref('survey_responses') }}
    group by customer_id
),

reviewed as (
    select
        customer_id,
        max_by(stars, given_at) filter (where stars is not null) as last_stars
    from {{ ref('feedback') }}
    group by customer_id
),

channels as (
    select
        customer_id,
        channel as main_channel
    from {{ ref('orders') }}
    where ordered_on > {{ add_days(as_of(), -364) }} and customer_id is not null
    group by customer_id, channel
    qualify row_number() over (partition by customer_id order by count(*) desc, channel asc) = 1
),

returned as (
    select
        customer_id,
        cast(count(*) as integer) as returns_total
    from {{ ref('returns') }}
    group by customer_id
),

asked as (
    select
        customer_id,
        cast(count(*) filter (where converted_at is null and status <> '无效') as integer) as open_leads
    from {{ ref('leads') }}
    group by customer_id
),

living as (
    select
        household_id,
        customers as household_customers
    from {{ ref('households') }}
),

speaking as (
    select
        customer_id,
        min(organisation_id) as speaks_for_organisation_id
    from {{ ref('organisation_contacts') }}
    group by customer_id
),

reached as (
    select
        customer_id,
        bool_or(identifier_type in ('openid', 'unionid')) as has_wechat,
        bool_or(identifier_type = 'account') as has_account
    from {{ ref('customer_identifiers') }}
    where learned_to is null
    group by customer_id
),

doubts as (
    select
        customer_id,
        cast(count(*) as integer) as identity_doubts
    from (
        select customer_a as customer_id from {{ ref('identity_reviews') }}
        union all
        select customer_b as customer_id from {{ ref('identity_reviews') }}
        where customer_b <> customer_a
    ) as doubted
    group by customer_id
),

agreed as (
    select
        customer_id,
        bool_or(is_granted) as has_marketing_consent
    from {{ ref('consent_states') }}
    where purpose = 'marketing'
    group by customer_id
),

contacted as (
    select
        customer_id,
        max(occurred_on) filter (where direction = 'inbound') as last_inbound_on,
        max(occurred_on) filter (where direction = 'outbound') as last_outbound_on,
        cast(
            count(*) filter (where direction = 'inbound' and occurred_on > {{ add_days(as_of(), -91) }}) as integer
        ) as inbound_touches_13_weeks
    from {{ ref('customer_touchpoints') }}
    group by customer_id
),

-- Who was not scored has null here.
grouped as (
    select
        customer_id,
        persona
    from {{ source('scores', 'customer_personas') }}
),

feeling as (
    select
        customer_id,
        sentiment_index,
        trend as sentiment_trend,
        is_drop_alarm as has_sentiment_drop
    from {{ ref('customer_sentiment') }}
),

preferred as (
    select
        customer_id,
        channel as best_channel,
        response_probability as best_channel_probability,
        best_from_hour
    from {{ ref('channel_preference') }}
    where is_best
)

select
    customers.customer_id,
    {{ as_of() }} as as_of,
    -- who
    customers.is_organisation,
    speaking.speaks_for_organisation_id,
    customers.name_token,
    customers.sex,
    customers.birthday_token,
    customers.birthday_calendar,
    customers.age_band,
    customers.language,
    customers.province_code,
    customers.city_code,
    customers.household_id,
    living.household_customers,
    customers.income_band,
    customers.home_ownership,
    customers.marital_status,
    customers.household_size,
    customers.household_composition,
    customers.kids_count,
    grouped.persona,
    -- reach and consent
    customers.phone_token,
    customers.email_token,
    customers.address_token,
    coalesce(reached.has_wechat, false) as has_wechat,
    coalesce(reached.has_account, false) as has_account,
    coalesce(agreed.has_marketing_consent, false) as has_marketing_consent,
    preferred.best_channel,
    preferred.best_channel_probability,
    preferred.best_from_hour,
    contacted.last_inbound_on,
    contacted.last_outbound_on,
    -- value
    customer_values.value_tier,
    customer_values.recency_score,
    customer_values.frequency_score,
    customer_values.monetary_score,
    customer_values.spend_52_weeks_cents,
    customer_values.spend_total_cents,
    customer_values.expected_orders,
    customer_values.expected_spend_cents,
    customer_values.expected_spend_low_cents,
    customer_values.expected_spend_high_cents,
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
    channels.main_channel,
    coalesce(returned.returns_total, 0) as returns_total,
    coalesce(asked.open_leads, 0) as open_leads,
    -- service
    coalesce(cases.cases_52_weeks, 0) as cases_52_weeks,
    coalesce(cases.open_cases, 0) as open_cases,
    cases.last_case_on,
    cases.last_case_topic,
    cases.last_case_satisfaction,
    -- products owned
    coalesce(owned.products_owned, 0) as products_owned,
    owned.next_warranty_end_on,
    coalesce(repaired.repairs_total, 0) as repairs_total,
    repaired.last_repair_on,
    -- loyalty
    customers.loyalty_tier,
    points.points_balance,
    -- engagement
    coalesce(touches.campaigns_received, 0) as campaigns_received,
    coalesce(touches.campaigns_opened, 0) as campaigns_opened,
    coalesce(touches.campaigns_clicked, 0) as campaigns_clicked,
    coalesce(touches.campaigns_redeemed, 0) as campaigns_redeemed,
    touches.last_campaign_on,
    coalesce(redemptions.coupons_redeemed_52_weeks, 0) as coupons_redeemed_52_weeks,
    coalesce(contacted.inbound_touches_13_weeks, 0) as inbound_touches_13_weeks,
    -- sentiment
    voices.last_nps,
    voices.last_csat,
    reviewed.last_stars,
    feeling.sentiment_index,
    feeling.sentiment_trend,
    coalesce(feeling.has_sentiment_drop, false) as has_sentiment_drop,
    -- risk
    churn.churn_probability,
    churn.horizon_days as churn_horizon_days,
    churn.reason_1 as churn_reason,
    churn.value_at_risk_cents,
    -- next best action
    collection.next_question,
    collection.next_question_reason,
    -- data trust
    customers.has_profile,
    customers.source_systems,
    customers.records,
    customers.attributes_known,
    customers.attributes_in_conflict,
    customers.least_confidence,
    coalesce(doubts.identity_doubts, 0) as identity_doubts,
    customers.first_seen_on,
    customers.last_seen_on,
    collection.has_basic,
    collection.has_behavioural,
    collection.has_active
from {{ ref('customers') }} as customers
left join {{ ref('customer_features') }} as features
    on customers.customer_id = features.customer_id
left join {{ ref('customer_value') }} as customer_values
    on customers.customer_id = customer_values.customer_id
left join {{ ref('churn_risk') }} as churn
    on customers.customer_id = churn.customer_id
left join {{ ref('customer_collection') }} as collection
    on customers.customer_id = collection.customer_id
left join living on customers.household_id = living.household_id
left join touches on customers.customer_id = touches.customer_id
left join redemptions on customers.customer_id = redemptions.customer_id
left join favourites on customers.customer_id = favourites.customer_id
left join stores on customers.customer_id = stores.customer_id
left join channels on customers.customer_id = channels.customer_id
left join returned on customers.customer_id = returned.customer_id
left join asked on customers.customer_id = asked.customer_id
left join cases on customers.customer_id = cases.customer_id
left join owned on customers.customer_id = owned.customer_id
left join repaired on customers.customer_id = repaired.customer_id
left join points on customers.customer_id = points.customer_id
left join voices on customers.customer_id = voices.customer_id
left join reviewed on customers.customer_id = reviewed.customer_id
left join speaking on customers.customer_id = speaking.customer_id
left join reached on customers.customer_id = reached.customer_id
left join doubts on customers.customer_id = doubts.customer_id
left join agreed on customers.customer_id = agreed.customer_id
left join contacted on customers.customer_id = contacted.customer_id
left join grouped on customers.customer_id = grouped.customer_id
left join feeling on customers.customer_id = feeling.customer_id
left join preferred on customers.customer_id = preferred.customer_id
