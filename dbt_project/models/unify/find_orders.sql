-- An order or receipt by the number that other systems quote; one that two systems use is neither.
select
    order_number,
    min(order_id) as order_id
from {{ ref('orders') }}
group by order_number
having count(*) = 1
