select
    source || '-' || cart_id || '-' || line_id as cart_line_id,
    source || '-' || cart_id as cart_key,
    source,
    product_id,
    coalesce(catalogue, source) as catalogue,
    quantity,
    price_cents,
    quantity * price_cents as amount_cents,
    added_at
from {{ ref('union_cart_lines') }}
