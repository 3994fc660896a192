-- What did each system that sells take in, to the cent?
select
    source,
    count(*) as orders,
    cast(sum(amount_cents) as bigint) as amount_cents
from orders
group by source
order by source;
