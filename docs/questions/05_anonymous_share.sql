-- How much of what the tills take in is bought by nobody that we know?
select
    is_anonymous,
    count(*) as orders,
    cast(sum(amount_cents) as bigint) as amount_cents
from orders
where source = 'tills'
group by is_anonymous
order by is_anonymous;
