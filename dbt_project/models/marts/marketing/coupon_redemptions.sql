select
    redemptions.source || '-' || redemptions.redemption_id as redemption_id,
    redemptions.customer_id,
    redemptions.source,
    redemptions.campaign_id,
    redemptions.source || '-' || redemptions.campaign_id as campaign_key,
    redemptions.coupon_id,
    orders.order_id,
    redemptions.order_reference,
    redemptions.discount_cents,
    redemptions.redeemed_on,
    coalesce(redemptions.redeemed_at, {{ day_start('redemptions.redeemed_on') }}) as redeemed_at
from {{ identified('coupon_redemptions') }} as redemptions
left join {{ ref('find_orders') }} as orders on redemptions.order_reference = orders.order_number
