-- What did each channel sell, month by month?
select
    cast(date_trunc('month', ordered_on) as date) as month,
    channel,
    count(*) as orders,
    cast(sum(amount_cents) as bigint) as amount_cents
from orders
group by month, channel
order by month, channel;
