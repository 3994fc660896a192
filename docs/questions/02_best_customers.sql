-- Who are the ten best customers of the year, and how long is it since they last bought?
select
    customer_id,
    spend_52_weeks_cents,
    orders_52_weeks,
    days_since_last_order
from customer_360
order by spend_52_weeks_cents desc nulls last, customer_id
limit 10;
