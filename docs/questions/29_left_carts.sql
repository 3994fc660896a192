-- What is left in carts, by channel, in the last four weeks?
select
    carts.channel,
    count(*) as carts,
    count(*) filter (where carts.status = 'abandoned') as abandoned,
    count(distinct carts.customer_id) filter (where carts.status = 'abandoned') as customers
from carts
where carts.created_at >= (select as_of - interval 27 day from snapshot_info)
group by carts.channel
order by carts.channel;
