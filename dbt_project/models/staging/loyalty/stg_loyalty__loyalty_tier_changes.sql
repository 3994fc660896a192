select
    'record' as identifier_type,
    {{ record_id('loyalty.members', 'member_no') }} as identifier_value,
    cast(change_id as varchar) as change_id,
    member_no as account_id,
    from_tier,
    to_tier,
    reason,
    changed_at
from {{ source_rows('loyalty', 'tier_changes') }} as tier_changes
