with known as (
    select
        record_id,
        unnest(known, recursive := true),
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record_id('loyalty.members', 'member_no') }} as record_id,
            [
                {'kind': 'member_no', 'value': member_no, 'is_verified': true},
                {'kind': 'phone', 'value': {{ real_phone('mobile') }}, 'is_verified': true}
            ] as known,
            joined_at as first_seen_at,
            updated_at as last_seen_at
        from {{ source_rows('loyalty', 'members') }} as members
    ) as records
    union all by name
    select
        record_id,
        unnest(known, recursive := true),
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record_id('loyalty.members', 'member_no') }} as record_id,
            [
                {'kind': 'order_no', 'value': reference, 'is_verified': true}
            ] as known,
            occurred_at as first_seen_at,
            occurred_at as last_seen_at
        from {{ source_rows('loyalty', 'points') }} as points
        where kind = 'earn'
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
