{{ identifiers_of(
    source_rows('campaigns', 'contacts'),
    record_id('campaigns.contacts', 'contact_id'),
    [
        ['member_no', 'member_no', 'false'],
        ['openid', 'openid', 'true'],
        ['phone', real_phone('mobile'), 'false'],
        ['email', real_email('email'), 'false'],
    ],
    'created_at',
    'updated_at'
) }}
union all
{{ identifiers_of(
    "(select * from " ~ source_rows('campaigns', 'redemptions') ~ " as redemptions inner join (select coupon_code,"
        ~ " contact_id from " ~ source_rows('campaigns', 'coupons') ~ " as given) as coupons using (coupon_code))",
    record_id('campaigns.contacts', 'contact_id'),
    [
        ['order_no', 'coalesce(order_no, receipt_no)', 'false'],
    ],
    'redeemed_at',
    'redeemed_at'
) }}
