{{ union_feeds('coupons') }}
