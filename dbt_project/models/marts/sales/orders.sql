select
    order_id,
    any_value(customer_id) as customer_id,
    any_value(source) as source,
    any_value(store_id) as store_id,
    any_value(channel) as channel,
    min(ordered_at) as ordered_at,
    min(ordered_on) as ordered_on,
    cast(count(*) as integer) as lines,
    cast(sum(quantity) as bigint) as quantity,
    cast(sum(discount_cents) as bigint) as discount_cents,
    cast(sum(amount_cents) as bigint) as amount_cents,
    any_value(currency) as currency,
    bool_and(is_anonymous) as is_anonymous
from {{ ref('order_lines') }}
group by order_id
