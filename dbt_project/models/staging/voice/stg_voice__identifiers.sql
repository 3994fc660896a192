with known as (
    select
        record_id,
        unnest(known, recursive := true),
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record_id('voice.responses', 'response_id') }} as record_id,
            [
                {'kind': 'member_no', 'value': member_no, 'is_verified': false},
                {'kind': 'openid', 'value': openid, 'is_verified': true},
                {'kind': 'phone', 'value': {{ real_phone('phone') }}, 'is_verified': false},
                {'kind': 'email', 'value': {{ real_email('email') }}, 'is_verified': false}
            ] as known,
            submitted_at as first_seen_at,
            submitted_at as last_seen_at
        from {{ source_rows('voice', 'responses') }} as responses
    ) as records
    union all by name
    select
        record_id,
        unnest(known, recursive := true),
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record_id('voice.interviews', 'interview_id') }} as record_id,
            [
                {'kind': 'member_no', 'value': member_no, 'is_verified': false},
                {'kind': 'phone', 'value': {{ real_phone('phone') }}, 'is_verified': false}
            ] as known,
            held_at as first_seen_at,
            held_at as last_seen_at
        from {{ source_rows('voice', 'interviews') }} as interviews
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
            posted_at as first_seen_at,
            posted_at as last_seen_at
        from {{ source_rows('voice', 'reviews') }} as reviews
        where account_id is not null
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
