select
    {{ piece('cart_id') }} as piece,
    case when account_id is not null then 'record' end as identifier_type,
    {{ record_id('shop.accounts', 'account_id') }} as identifier_value,
    cast(cart_id as varchar) as cart_id,
    channel,
    status,
    order_no as order_id,
    created_at,
    updated_at
from {{ source_rows('shop', 'carts', piece='cart_id') }} as carts
