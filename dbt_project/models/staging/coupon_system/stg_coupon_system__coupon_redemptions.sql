select
    'household_id' as identifier_type,
    cast(household_id as varchar) as identifier_value,
    md5(
        cast(household_id as varchar) || ':' || cast(coupon_upc as varchar) || ':'
        || cast(campaign_id as varchar) || ':' || cast(redemption_date as varchar)
    ) as redemption_id,
    cast(campaign_id as varchar) as campaign_id,
    cast(coupon_upc as varchar) as coupon_id,
    redemption_date as redeemed_on
from {{ source_rows('coupon_system', 'coupon_redemptions') }} as coupon_redemptions
