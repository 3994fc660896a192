{{ config(
    materialized='incremental',
    piece="order_id",
    fed_by={'order_lines': 'order_id', 'union_orders': "source || '-' || order_id"},
    order_by='customer_id, ordered_at',
    uncompressed='customer_id'
) }}

-- An order is its header and its lines; some sources have no headers, and a header may have no lines.
-- What the lines sum up to is what it cost.
with lines as (
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
        cast(sum(original_amount_cents) as bigint) as original_amount_cents,
        any_value(original_currency) as original_currency,
        bool_and(is_anonymous) as is_anonymous
    from {{ rows_of('order_lines') }}
    group by order_id
),

headers as (
    select
        *,
        source || '-' || order_id as order_key,
        goods_cents - discount_cents as net_cents,
        coalesce(currency, '{{ var("currency") }}') as original_currency
    from {{ identified('orders') }} as orders
    where not coalesce(is_cancelled, false) and {{ refusal_of() }} is null
),

joined as (
    select
        coalesce(headers.order_key, lines.order_id) as order_id,
        coalesce(headers.customer_id, lines.customer_id) as customer_id,
        coalesce(headers.source, lines.source) as source,
        coalesce(headers.store_id, lines.store_id) as store_id,
        coalesce(headers.channel, lines.channel) as channel,
        coalesce(headers.status, 'completed') as status,
        coalesce(headers.ordered_at, lines.ordered_at) as ordered_at,
        coalesce({{ local_day('headers.ordered_at') }}, lines.ordered_on) as ordered_on,
        headers.paid_at,
        headers.shipped_at,
        headers.delivered_at,
        coalesce(lines.lines, 0) as lines,
        coalesce(lines.quantity, 0) as quantity,
        coalesce(
            lines.discount_cents, {{ company_cents('headers.discount_cents', 'headers.original_currency') }}
        ) as discount_cents,
        case
            when lines.order_id is not null then lines.amount_cents
            else {{ company_cents('headers.net_cents', 'headers.original_currency') }}
        end as amount_cents,
        coalesce(
            {{ company_cents('headers.shipping_cents', 'headers.original_currency') }}, 0
        ) as shipping_cents,
        {{ company_cents('headers.paid_cents', 'headers.original_currency') }} as paid_cents,
        coalesce(lines.original_amount_cents, headers.net_cents) as original_amount_cents,
        coalesce(lines.original_currency, headers.original_currency) as original_currency,
        headers.payment_method,
        headers.coupon_id,
        coalesce(lines.is_anonymous, true) and headers.identifier_value is null as is_anonymous,
        headers.text_key
    from headers
    full outer join lines on headers.order_key = lines.order_id
)

select
    order_id,
    substr(order_id, length(source) + 2) as order_number,
    customer_id,
    source,
    store_id,
    channel,
    status,
    ordered_at,
    ordered_on,
    paid_at,
    shipped_at,
    delivered_at,
    lines,
    quantity,
    discount_cents,
    amount_cents,
    shipping_cents,
    coalesce(paid_cents, amount_cents + shipping_cents) as paid_cents,
    '{{ var("currency") }}' as currency,
    original_amount_cents,
    original_currency,
    payment_method,
    coupon_id,
    coalesce(amount_cents < 0, false) as is_refund,
    coalesce(abs(amount_cents) > {{ var('huge_order_cents') }}, false) as is_huge,
    is_anonymous,
    text_key
from joined
