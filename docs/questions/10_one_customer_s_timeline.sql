-- What has happened between us and our best customer, the latest first?
select
    occurred_at,
    channel,
    direction,
    kind,
    subject,
    amount_cents
from customer_touchpoints
where customer_id = (
    select customer_id from customer_360
    order by spend_total_cents desc nulls last, customer_id
    limit 1
)
order by occurred_at desc, touchpoint_id
limit 20;
