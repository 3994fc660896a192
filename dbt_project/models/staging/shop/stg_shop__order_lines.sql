select
    'record' as identifier_type,
    {{ record_id('shop.accounts', 'orders.account_id') }} as identifier_value,
    lines.order_no as order_id,
    cast(lines.line_no as varchar) as line_id,
    lines.sku as product_id,
    'shop' as catalogue,
    orders.channel,
    orders.status = 'cancelled' as is_cancelled,
    orders.ordered_at,
    lines.quantity,
    lines.discount_fen as discount_cents,
    lines.amount_fen as amount_cents,
    '{{ var("currency") }}' as currency
from {{ source_rows('shop', 'order_lines') }} as lines
inner join {{ source_rows('shop', 'orders') }} as orders on lines.order_no = orders.order_no
