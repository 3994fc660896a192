with redeemed as (
    select
        source,
        coupon_id,
        campaign_id,
        cast(count(*) as integer) as redemptions,
        min(redeemed_on) as first_redeemed_on,
        cast(sum(discount_cents) as bigint) as discount_cents
    from {{ ref('coupon_redemptions') }}
    group by source, coupon_id, campaign_id
)

select
    coupons.source || '-' || coupons.campaign_id || '-' || coupons.coupon_id as coupon_key,
    coupons.source || '-' || coupons.campaign_id as campaign_key,
    coupons.customer_id,
    coupons.source,
    coupons.coupon_id,
    coupons.value_cents,
    coupons.min_spend_cents,
    case
        when redeemed.coupon_id is not null then 'used'
        when coupons.valid_until < {{ cutoff() }} then 'expired'
        else coalesce(coupons.status, 'issued')
    end as status,
    coupons.issued_at,
    coupons.valid_until,
    redeemed.coupon_id is not null as is_redeemed,
    coalesce(redeemed.redemptions, 0) as redemptions,
    redeemed.first_redeemed_on,
    redeemed.discount_cents
from {{ identified('coupons') }} as coupons
left join redeemed
    on
        coupons.source = redeemed.source
        and coupons.coupon_id = redeemed.coupon_id
        and coupons.campaign_id = redeemed.campaign_id
