select
    {{ piece('member_no') }} as piece,
    'record' as identifier_type,
    {{ record_id('loyalty.members', 'member_no') }} as identifier_value,
    cast(entry_id as varchar) as transaction_id,
    member_no as account_id,
    kind,
    points,
    balance_after,
    case when kind = 'earn' then reference end as order_reference,
    occurred_at,
    expires_on
from {{ source_rows('loyalty', 'points', piece='member_no') }} as points
