-- The one rule of attribution: an order is credited to one campaign at most. To the one whose coupon
-- it redeemed (where the source does not say the order: the customer's orders of that day); else to
-- the last one that was delivered to the customer in the days before (policies.yml, attribution.days).
with bought as (
    select
        order_id,
        customer_id,
        ordered_at,
        ordered_on,
        amount_cents
    from {{ ref('orders') }}
    where customer_id is not null and not is_refund
),

by_coupon as (
    select
        bought.order_id,
        redemptions.campaign_key,
        'coupon' as rule,
        redemptions.redeemed_at as touched_at
    from bought
    inner join {{ ref('coupon_redemptions') }} as redemptions
        on
            bought.customer_id = redemptions.customer_id
            and bought.ordered_on = redemptions.redeemed_on
    where redemptions.order_reference is null and redemptions.campaign_key is not null
    union all
    select
        bought.order_id,
        redemptions.campaign_key,
        'coupon' as rule,
        redemptions.redeemed_at as touched_at
    from bought
    inner join {{ ref('coupon_redemptions') }} as redemptions on bought.order_id = redemptions.order_id
    where redemptions.campaign_key is not null
),

by_touch as (
    select
        bought.order_id,
        messages.campaign_key,
        'last_touch' as rule,
        messages.sent_at as touched_at
    from bought
    inner join {{ ref('campaign_messages') }} as messages
        on
            bought.customer_id = messages.customer_id
            and bought.ordered_at >= messages.sent_at
            and bought.ordered_at < {{ add_minutes('messages.sent_at', var('attribution_days') * 1440) }}
    where messages.is_delivered
),

candidates as (
    select * from by_coupon
    union all
    select * from by_touch
),

credited as (
    select * from candidates
    qualify
        row_number() over (
            partition by order_id order by rule asc, touched_at desc, campaign_key asc
        ) = 1
)

select
    credited.order_id,
    bought.customer_id,
    credited.campaign_key,
    credited.rule,
    credited.touched_at,
    bought.ordered_on,
    bought.amount_cents
from credited
inner join bought on credited.order_id = bought.order_id
