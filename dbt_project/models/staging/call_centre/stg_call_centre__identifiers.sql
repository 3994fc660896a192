{{ identifiers_of(
    source_rows('call_centre', 'tickets'),
    record_id('call_centre.tickets', 'ticket_id'),
    [
        ['member_no', 'member_no', 'false'],
        ['openid', 'openid', 'true'],
        ['order_no', 'order_no', 'false'],
        ['serial_no', 'serial_no', 'false'],
        ['phone', real_phone('caller_phone'), 'true'],
        ['email', real_email('email'), 'false'],
    ],
    'opened_at',
    'updated_at'
) }}
