-- How many points were earned, redeemed, and expired?
select
    kind,
    count(*) as entries,
    cast(sum(points) as bigint) as points
from loyalty_transactions
group by kind
order by kind;
