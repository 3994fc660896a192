-- How many warranties end in each of the next three months?
select
    cast(date_trunc('month', warranty_until) as date) as month,
    count(*) as products,
    count(distinct customer_id) as customers
from installed_products
where
    warranty_until > (select as_of from snapshot_info)
    and warranty_until <= (select last_day(as_of + interval 3 month) from snapshot_info)
group by month
order by month;
