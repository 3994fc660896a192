select
    'record' as identifier_type,
    {{ record_id('campaigns.contacts', 'coupons.contact_id') }} as identifier_value,
    cast(coupons.campaign_id as varchar) as campaign_id,
    redemptions.coupon_code as coupon_id,
    {{ local_day('redemptions.redeemed_at') }} as redeemed_on
from {{ source_rows('campaigns', 'redemptions') }} as redemptions
inner join {{ source_rows('campaigns', 'coupons') }} as coupons
    on redemptions.coupon_code = coupons.coupon_code
