select
    'order-' || order_id as touchpoint_id,
    customer_id,
    ordered_at as occurred_at,
    ordered_on as occurred_on,
    channel,
    'inbound' as direction,
    'purchase' as kind,
    'store ' || store_id as subject,
    amount_cents,
    source,
    order_id as source_key
from {{ ref('orders') }}
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
