-- Points are spent in the order in which they expire; those that never do, last. What is left of an
-- entry after all that was spent or has expired sums up to the balance.
with entries as (
    select
        source,
        account_id,
        customer_id,
        transaction_id,
        points,
        occurred_at,
        expires_on
    from {{ identified('loyalty_transactions') }} as transactions
),

spent as (
    select
        source,
        account_id,
        -sum(points) as points
    from entries
    where points < 0
    group by source, account_id
),

earned as (
    select
        *,
        sum(points) over (
            partition by source, account_id
            order by expires_on is null, expires_on, occurred_at, transaction_id
            rows unbounded preceding
        ) as points_until
    from entries
    where points > 0
),

remaining as (
    select
        earned.*,
        cast(least(earned.points, earned.points_until - coalesce(spent.points, 0)) as bigint) as points_left
    from earned
    left join spent on earned.source = spent.source and earned.account_id = spent.account_id
)

select
    source || '-' || transaction_id as transaction_key,
    source || '-' || account_id as account_key,
    customer_id,
    source,
    points_left,
    occurred_at as earned_at,
    expires_on
from remaining
where points_left > 0
