with known as (
    select
        record_id,
        unnest(known, recursive := true),
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record_id('wechat.followers', 'openid') }} as record_id,
            [
                {'kind': 'openid', 'value': openid, 'is_verified': true},
                {'kind': 'unionid', 'value': unionid, 'is_verified': true},
                {'kind': 'member_no', 'value': bound_member_no, 'is_verified': true},
                {'kind': 'phone', 'value': {{ real_phone('bound_mobile') }}, 'is_verified': true}
            ] as known,
            subscribe_time as first_seen_at,
            coalesce(unsubscribe_time, subscribe_time) as last_seen_at
        from {{ source_rows('wechat', 'followers') }} as followers
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
