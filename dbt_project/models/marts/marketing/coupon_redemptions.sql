select
    redemptions.source || '-' || customers.customer_id || '-' || redemptions.campaign_id || '-'
    || redemptions.coupon_id || '-' || cast(redemptions.redeemed_on as varchar) as redemption_id,
    customers.customer_id,
    redemptions.source,
    redemptions.campaign_id,
    redemptions.coupon_id,
    redemptions.redeemed_on
from {{ ref('union_coupon_redemptions') }} as redemptions
left join {{ ref('identify_customers') }} as customers
    on
        redemptions.identifier_type = customers.identifier_type
        and redemptions.identifier_value = customers.identifier_value
