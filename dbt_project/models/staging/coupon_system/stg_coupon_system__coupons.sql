-- A coupon of a campaign is good for several products; it is not given to one household.
select distinct
    cast(campaign_id as varchar) as campaign_id,
    cast(coupon_upc as varchar) as coupon_id
from {{ source_rows('coupon_system', 'coupons') }} as coupons
