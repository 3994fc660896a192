select
    cast(campaign_id as varchar) as campaign_id,
    cast(coupon_upc as varchar) as coupon_id,
    cast(product_id as varchar) as product_id
from {{ source_rows('coupon_system', 'coupons') }} as coupons
