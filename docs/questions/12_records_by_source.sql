-- How many records of people does each system hold, and how many customers are they?
select
    source,
    count(*) as records,
    count(distinct customer_id) as customers
from customer_identifiers
where identifier_type = 'record' and learned_to is null
group by source
order by source;
