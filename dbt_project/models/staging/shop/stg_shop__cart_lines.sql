select
    {{ piece('cart_id') }} as piece,
    cast(cart_id as varchar) as cart_id,
    cast(line_no as varchar) as line_id,
    sku as product_id,
    'shop' as catalogue,
    quantity,
    price_fen as price_cents,
    added_at
from {{ source_rows('shop', 'cart_lines', piece='cart_id') }} as cart_lines
