-- How many customers are in each tier of value, and what do they spend in a year?
select
    coalesce(value_tier, 'has not bought') as tier,
    count(*) as customers,
    cast(sum(spend_52_weeks_cents) as bigint) as spend_cents
from customer_360
group by value_tier
order by spend_cents desc nulls last;
