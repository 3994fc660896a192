{{ identifiers_of(
    source_rows('voice', 'responses'),
    record_id('voice.responses', 'response_id'),
    [
        ['member_no', 'member_no', 'false'],
        ['openid', 'openid', 'true'],
        ['phone', real_phone('phone'), 'false'],
        ['email', real_email('email'), 'false'],
    ],
    'submitted_at',
    'submitted_at'
) }}
union all
{{ identifiers_of(
    source_rows('voice', 'interviews'),
    record_id('voice.interviews', 'interview_id'),
    [
        ['member_no', 'member_no', 'false'],
        ['phone', real_phone('phone'), 'false'],
    ],
    'held_at',
    'held_at'
) }}
union all
{{ identifiers_of(
    "(select * from " ~ source_rows('voice', 'reviews') ~ " as reviews where account_id is not null)",
    record_id('shop.accounts', 'account_id'),
    [
        ['order_no', 'order_no', 'true'],
    ],
    'posted_at',
    'posted_at'
) }}
