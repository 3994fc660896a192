{{ identifiers_of(
    source_rows('after_sales', 'installed'),
    record_id('after_sales.installed', 'serial_no'),
    [
        ['serial_no', 'serial_no', 'true'],
        ['order_no', 'order_reference', 'true'],
        ['phone', real_phone('phone'), 'false'],
    ],
    day_start(typed_day('installed_on')),
    day_start(typed_day('installed_on'))
) }}
union all
{{ identifiers_of(
    source_rows('after_sales', 'visits'),
    record_id('after_sales.visits', 'visit_no'),
    [
        ['serial_no', 'serial_no', 'true'],
        ['phone', real_phone('phone'), 'false'],
    ],
    day_start(typed_day('visited_on')),
    day_start(typed_day('visited_on'))
) }}
