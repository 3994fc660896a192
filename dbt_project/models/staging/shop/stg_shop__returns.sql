select
    'record' as identifier_type,
    {{ record_id('shop.accounts', 'orders.account_id') }} as identifier_value,
    returns.return_no as return_id,
    'shop-' || returns.order_no as order_id,
    returns.sku as product_id,
    returns.quantity,
    returns.refund_fen as refund_cents,
    returns.reason,
    returns.status,
    returns.requested_at,
    returns.refunded_at
from {{ source_rows('shop', 'returns') }} as returns
left join {{ source_rows('shop', 'orders') }} as orders on returns.order_no = orders.order_no
