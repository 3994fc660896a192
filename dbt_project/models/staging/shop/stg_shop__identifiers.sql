{{ identifiers_of(
    source_rows('shop', 'accounts'),
    record_id('shop.accounts', 'account_id'),
    [
        ['account', 'cast(account_id as varchar)', 'true'],
        ['delivery_of', 'cast(account_id as varchar)', 'true'],
        ['unionid', 'unionid', 'true'],
        ['phone', real_phone('mobile'), 'true'],
        ['email', real_email('email'), 'false'],
    ],
    'registered_at',
    'updated_at'
) }}
union all
{{ identifiers_of(
    source_rows('shop', 'addresses'),
    record_id('shop.addresses', 'address_id'),
    [
        ['delivery_of', 'cast(account_id as varchar)', 'true'],
        ['phone', real_phone('mobile'), 'false'],
    ],
    'created_at',
    'updated_at'
) }}
union all
{{ identifiers_of(
    source_rows('shop', 'orders'),
    record_id('shop.accounts', 'account_id'),
    [
        ['order_no', 'order_no', 'true'],
    ],
    'ordered_at',
    'updated_at'
) }}
