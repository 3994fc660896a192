-- A tier is held from its change to the next one.
select
    source || '-' || change_id as tier_change_key,
    source || '-' || account_id as account_key,
    customer_id,
    source,
    from_tier,
    to_tier,
    reason,
    changed_at,
    {{ local_day('changed_at') }} as changed_on,
    lead(changed_at) over (partition by source, account_id order by changed_at, change_id) as held_until
from {{ identified('loyalty_tier_changes') }} as changes
