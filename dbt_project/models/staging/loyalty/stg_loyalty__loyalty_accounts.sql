select
    'record' as identifier_type,
    {{ record_id('loyalty.members', 'member_no') }} as identifier_value,
    member_no as account_id,
    tier,
    points_balance,
    status,
    join_channel,
    store_code as store_id,
    joined_at
from {{ source_rows('loyalty', 'members') }} as members
