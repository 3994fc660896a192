{{ identifiers_of(
    source_rows('loyalty', 'members'),
    record_id('loyalty.members', 'member_no'),
    [
        ['member_no', 'member_no', 'true'],
        ['phone', real_phone('mobile'), 'true'],
    ],
    'joined_at',
    'updated_at'
) }}
union all
{{ identifiers_of(
    source_rows('loyalty', 'points'),
    record_id('loyalty.members', 'member_no'),
    [
        ['order_no', "case when kind = 'earn' then reference end", 'true'],
    ],
    'occurred_at',
    'occurred_at'
) }}
