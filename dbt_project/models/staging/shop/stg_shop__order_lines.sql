-- A line whose order is not there has no moment: the marts set it aside.
select
    {{ piece('lines.order_no') }} as piece,
    case when orders.account_id is not null then 'record' end as identifier_type,
    {{ record_id('shop.accounts', 'orders.account_id') }} as identifier_value,
    lines.order_no as order_id,
    cast(lines.line_no as varchar) as line_id,
    lines.sku as product_id,
    'shop' as catalogue,
    cast(null as varchar) as store_id,
    orders.channel,
    coalesce(orders.status = 'cancelled', false) as is_cancelled,
    orders.ordered_at,
    lines.quantity,
    lines.discount_fen as discount_cents,
    lines.amount_fen as amount_cents,
    '{{ var("currency") }}' as currency,
    orders._as_of as read_on
from {{ source_rows('shop', 'order_lines', piece='order_no') }} as lines
left join {{ source_rows('shop', 'orders', piece='order_no') }} as orders on lines.order_no = orders.order_no
