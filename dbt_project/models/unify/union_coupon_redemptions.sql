{{ union_feeds('coupon_redemptions') }}
