-- A name of digits is a number of QQ, which is a mailbox too.
{{ identifiers_of(
    source_rows('shop', 'accounts'),
    record_id('shop.accounts', 'account_id'),
    [
        ['account', 'cast(account_id as varchar)', 'true'],
        ['delivery_of', 'cast(account_id as varchar)', 'true'],
        ['unionid', 'unionid', 'true'],
        ['phone', real_phone('mobile'), 'true'],
        ['email', real_email('email'), 'false'],
        ['email', "case when regexp_matches(username, '^[1-9][0-9]{4,10}$') then username || '@qq.com' end", 'false'],
        ['nickname:shop', 'nickname', 'false'],
    ],
    'registered_at',
    'updated_at'
) }}
union all
{{ identifiers_of(
    "(select accounts.nickname, addresses.* from " ~ source_rows('shop', 'addresses') ~ " as addresses inner join "
        ~ source_rows('shop', 'accounts') ~ " as accounts on addresses.account_id = accounts.account_id)",
    record_id('shop.accounts', 'account_id'),
    [
        ['nickname:shop', placed_nickname('nickname', 'city'), 'false'],
    ],
    'created_at',
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
union all
-- The number of a delivery is the customer's own where the customer receives it.
{{ identifiers_of(
    "(select orders.* from " ~ source_rows('shop', 'orders') ~ " as orders inner join "
        ~ source_rows('shop', 'accounts') ~ " as accounts on orders.account_id = accounts.account_id and "
        ~ person_name('orders.consignee') ~ " = " ~ person_name('accounts.real_name') ~ ")",
    record_id('shop.accounts', 'account_id'),
    [
        ['phone', real_phone('mobile'), 'false'],
    ],
    'ordered_at',
    'updated_at'
) }}
