-- How many members and unused points are in each tier of the loyalty programme?
select
    tier,
    count(*) as members,
    cast(sum(points_balance) as bigint) as points
from loyalty_accounts
group by tier
order by members desc, tier;
