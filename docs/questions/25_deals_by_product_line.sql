-- What has been won and lost with larger deals, by product line?
select
    product_line,
    count(*) filter (where stage = 'won') as won,
    count(*) filter (where stage = 'lost') as lost,
    cast(sum(amount_cents) filter (where stage = 'won') as bigint) as won_cents
from deals
group by product_line
order by product_line;
