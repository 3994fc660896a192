with known as (
    select
        record_id,
        unnest(known, recursive := true),
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record_id('after_sales.installed', 'serial_no') }} as record_id,
            [
                {'kind': 'serial_no', 'value': serial_no, 'is_verified': true},
                {'kind': 'order_no', 'value': order_reference, 'is_verified': true},
                {'kind': 'phone', 'value': {{ real_phone('phone') }}, 'is_verified': false}
            ] as known,
            {{ day_start(typed_day('installed_on')) }} as first_seen_at,
            {{ day_start(typed_day('installed_on')) }} as last_seen_at
        from {{ source_rows('after_sales', 'installed') }} as installed
    ) as records
    union all by name
    select
        record_id,
        unnest(known, recursive := true),
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record_id('after_sales.visits', 'visit_no') }} as record_id,
            [
                {'kind': 'serial_no', 'value': serial_no, 'is_verified': true},
                {'kind': 'phone', 'value': {{ real_phone('phone') }}, 'is_verified': false}
            ] as known,
            {{ day_start(typed_day('visited_on')) }} as first_seen_at,
            {{ day_start(typed_day('visited_on')) }} as last_seen_at
        from {{ source_rows('after_sales', 'visits') }} as visits
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
