-- The number that was said with a member's card.
{{ identifiers_of(
    "(select * from " ~ source_rows('tills', 'receipts') ~ " as receipts where member_no is not null)",
    record_id('loyalty.members', 'member_no'),
    [
        ['phone', real_phone('phone'), 'false'],
    ],
    'sold_at',
    'sold_at'
) }}
