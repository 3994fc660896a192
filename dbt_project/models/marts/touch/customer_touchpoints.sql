select
    'order-' || order_id as touchpoint_id,
    customer_id,
    ordered_at as occurred_at,
    ordered_on as occurred_on,
    channel,
    'inbound' as direction,
    'purchase' as kind,
    case when store_id is null then 'order' else 'store ' || store_id end as subject,
    amount_cents,
    source,
    order_id as source_key
from {{ ref('orders') }}
where not is_anonymous
union all
select
    'campaign-' || touch_id as touchpoint_id,
    customer_id,
    {{ day_start('sent_on') }} as occurred_at,
    sent_on as occurred_on,
    channel,
    'outbound' as direction,
    'campaign' as kind,
    'campaign ' || campaign_id as subject,
    null as amount_cents,
    split_part(campaign_key, '-', 1) as source,
    touch_id as source_key
from {{ ref('campaign_touches') }}
union all
select
    'coupon-' || redemption_id as touchpoint_id,
    customer_id,
    {{ day_start('redeemed_on') }} as occurred_at,
    redeemed_on as occurred_on,
    'store' as channel,
    'inbound' as direction,
    'coupon' as kind,
    'coupon ' || coupon_id || ' of campaign ' || campaign_id as subject,
    null as amount_cents,
    source,
    redemption_id as source_key
from {{ ref('coupon_redemptions') }}
where customer_id is not null
union all
select
    'case-' || case_key as touchpoint_id,
    customer_id,
    opened_at as occurred_at,
    opened_on as occurred_on,
    channel,
    'inbound' as direction,
    'service' as kind,
    coalesce(subject, topic) as subject,
    null as amount_cents,
    source,
    case_key as source_key
from {{ ref('service_cases') }}
where customer_id is not null
union all
select
    'repair-' || repair_key as touchpoint_id,
    customer_id,
    {{ day_start('visited_on') }} as occurred_at,
    visited_on as occurred_on,
    'visit' as channel,
    'outbound' as direction,
    'repair' as kind,
    coalesce(fault, kind) as subject,
    labour_cents + parts_cents as amount_cents,
    source,
    repair_key as source_key
from {{ ref('repairs') }}
where customer_id is not null and visited_on is not null
union all
select
    'install-' || product_key as touchpoint_id,
    customer_id,
    {{ day_start('installed_on') }} as occurred_at,
    installed_on as occurred_on,
    'visit' as channel,
    'outbound' as direction,
    'installation' as kind,
    model as subject,
    null as amount_cents,
    source,
    product_key as source_key
from {{ ref('installed_products') }}
where customer_id is not null and installed_on is not null
union all
select
    'points-' || transaction_key as touchpoint_id,
    customer_id,
    occurred_at,
    {{ local_day('occurred_at') }} as occurred_on,
    'loyalty' as channel,
    case when kind in ('earn', 'redeem') then 'inbound' else 'outbound' end as direction,
    'points' as kind,
    kind || ' ' || cast(points as varchar) as subject,
    null as amount_cents,
    source,
    transaction_key as source_key
from {{ ref('loyalty_transactions') }}
where customer_id is not null
union all
select
    'feedback-' || feedback_key as touchpoint_id,
    customer_id,
    given_at as occurred_at,
    {{ local_day('given_at') }} as occurred_on,
    platform as channel,
    'inbound' as direction,
    kind,
    case
        when stars is not null then cast(stars as varchar) || ' stars'
        else 'recommends ' || cast(nps as varchar) || ' of 10'
    end as subject,
    null as amount_cents,
    source,
    feedback_key as source_key
from {{ ref('feedback') }}
where customer_id is not null
union all
select
    'touch-' || touches.source || '-' || touches.touch_id as touchpoint_id,
    customers.customer_id,
    touches.occurred_at,
    {{ local_day('touches.occurred_at') }} as occurred_on,
    touches.channel,
    touches.direction,
    touches.kind,
    touches.subject,
    null as amount_cents,
    touches.source,
    touches.touch_id as source_key
from {{ ref('union_touches') }} as touches
inner join {{ ref('identify_customers') }} as customers
    on
        touches.identifier_type = customers.identifier_type
        and touches.identifier_value = customers.identifier_value
