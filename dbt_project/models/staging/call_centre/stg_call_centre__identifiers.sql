with known as (
    select
        record_id,
        unnest(known, recursive := true),
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record_id('call_centre.tickets', 'ticket_id') }} as record_id,
            [
                {'kind': 'member_no', 'value': member_no, 'is_verified': false},
                {'kind': 'openid', 'value': openid, 'is_verified': true},
                {'kind': 'order_no', 'value': order_no, 'is_verified': false},
                {'kind': 'serial_no', 'value': serial_no, 'is_verified': false},
                {'kind': 'phone', 'value': {{ real_phone('caller_phone') }}, 'is_verified': true},
                {'kind': 'email', 'value': {{ real_email('email') }}, 'is_verified': false}
            ] as known,
            opened_at as first_seen_at,
            updated_at as last_seen_at
        from {{ source_rows('call_centre', 'tickets') }} as tickets
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
