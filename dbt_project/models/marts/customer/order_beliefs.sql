-- Orders whose customer we once knew not, or took for another one, with what we believed and when. All
-- other orders were their customer's from the first day on, and stand in orders alone.
with placed as (
    select distinct
        source || '-' || order_id as order_id,
        identifier_type,
        identifier_value
    from {{ ref('union_order_lines') }}
    where identifier_value is not null
),

believed as (
    select
        orders.order_id,
        orders.customer_id as present_customer_id,
        orders.ordered_on,
        beliefs.customer_id,
        beliefs.known_from,
        beliefs.known_to
    from {{ ref('orders') }} as orders
    inner join placed on orders.order_id = placed.order_id
    inner join {{ ref('believe_buyers') }} as beliefs
        on
            placed.identifier_type = beliefs.identifier_type
            and placed.identifier_value = beliefs.identifier_value
    where orders.customer_id is not null
),

changed as (
    select order_id
    from believed
    where customer_id <> present_customer_id and (known_to is null or known_to > ordered_on)
    union
    select order_id
    from believed
    group by order_id, ordered_on
    having min(known_from) > ordered_on
)

select
    believed.order_id,
    believed.customer_id,
    believed.known_from,
    believed.known_to
from believed
inner join changed on believed.order_id = changed.order_id
where believed.known_to is null or believed.known_to > believed.ordered_on
