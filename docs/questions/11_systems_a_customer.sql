-- How many systems know a customer?
select
    source_systems,
    count(*) as customers
from customers
group by source_systems
order by source_systems;
