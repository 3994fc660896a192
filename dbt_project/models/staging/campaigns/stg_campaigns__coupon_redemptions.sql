-- Whose coupon it is says the coupon; one that the tool never gave has nobody.
select
    case when coupons.contact_id is not null then 'record' end as identifier_type,
    {{ record_id('campaigns.contacts', 'coupons.contact_id') }} as identifier_value,
    cast(redemptions.redemption_id as varchar) as redemption_id,
    cast(coupons.campaign_id as varchar) as campaign_id,
    redemptions.coupon_code as coupon_id,
    coalesce(redemptions.order_no, redemptions.receipt_no) as order_reference,
    redemptions.discount_fen as discount_cents,
    {{ local_day('redemptions.redeemed_at') }} as redeemed_on,
    redemptions.redeemed_at
from {{ source_rows('campaigns', 'redemptions') }} as redemptions
left join {{ source_rows('campaigns', 'coupons') }} as coupons
    on redemptions.coupon_code = coupons.coupon_code
