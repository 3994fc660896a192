with known as (
    select
        record_id,
        unnest(known, recursive := true),
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record_id('shop.accounts', 'account_id') }} as record_id,
            [
                {'kind': 'account', 'value': cast(account_id as varchar), 'is_verified': true},
                {'kind': 'delivery_of', 'value': cast(account_id as varchar), 'is_verified': true},
                {'kind': 'unionid', 'value': unionid, 'is_verified': true},
                {'kind': 'phone', 'value': {{ real_phone('mobile') }}, 'is_verified': true},
                {'kind': 'email', 'value': {{ real_email('email') }}, 'is_verified': false}
            ] as known,
            registered_at as first_seen_at,
            updated_at as last_seen_at
        from {{ source_rows('shop', 'accounts') }} as accounts
    ) as records
    union all by name
    select
        record_id,
        unnest(known, recursive := true),
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record_id('shop.addresses', 'address_id') }} as record_id,
            [
                {'kind': 'delivery_of', 'value': cast(account_id as varchar), 'is_verified': true},
                {'kind': 'phone', 'value': {{ real_phone('mobile') }}, 'is_verified': false}
            ] as known,
            created_at as first_seen_at,
            updated_at as last_seen_at
        from {{ source_rows('shop', 'addresses') }} as addresses
    ) as records
    union all by name
    select
        record_id,
        unnest(known, recursive := true),
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record_id('shop.accounts', 'account_id') }} as record_id,
            [
                {'kind': 'order_no', 'value': order_no, 'is_verified': true}
            ] as known,
            ordered_at as first_seen_at,
            updated_at as last_seen_at
        from {{ source_rows('shop', 'orders') }} as orders
    ) as records
)

select
    record_id,
    kind,
    value as value_normalised,
    is_verified,
    first_seen_at,
    last_seen_at
from known
where value is not null
