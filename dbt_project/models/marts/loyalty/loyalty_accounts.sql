with expiring as (
    select
        account_key,
        min(expires_on) as next_expiry_on,
        cast(sum(points_left) as bigint) as points_expiring_90_days
    from {{ ref('loyalty_points_left') }}
    where expires_on >= {{ as_of() }} and expires_on <= {{ add_days(as_of(), 90) }}
    group by account_key
),

changed as (
    select
        account_key,
        cast(count(*) as integer) as tier_changes,
        max(changed_at) as tier_since_at,
        {{ latest('from_tier', 'changed_at') }} as previous_tier
    from {{ ref('loyalty_tier_changes') }}
    group by account_key
)

select
    accounts.source || '-' || accounts.account_id as account_key,
    accounts.customer_id,
    accounts.source,
    accounts.account_id,
    accounts.tier,
    changed.previous_tier,
    coalesce(changed.tier_since_at, accounts.joined_at) as tier_since_at,
    coalesce(changed.tier_changes, 0) as tier_changes,
    accounts.points_balance,
    expiring.next_expiry_on,
    coalesce(expiring.points_expiring_90_days, 0) as points_expiring_90_days,
    accounts.status,
    accounts.join_channel,
    accounts.store_id,
    accounts.joined_at
from {{ identified('loyalty_accounts') }} as accounts
left join expiring on accounts.source || '-' || accounts.account_id = expiring.account_key
left join changed on accounts.source || '-' || accounts.account_id = changed.account_key
