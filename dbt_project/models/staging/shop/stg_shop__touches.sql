-- A cart that did not become an order within a day.
select
    'record' as identifier_type,
    {{ record_id('shop.accounts', 'account_id') }} as identifier_value,
    'shop-cart-' || cast(cart_id as varchar) as touch_id,
    'cart' as kind,
    channel,
    'inbound' as direction,
    'left a cart' as subject,
    created_at as occurred_at
from {{ source_rows('shop', 'carts') }} as carts
where
    account_id is not null
    and order_no is null
    and updated_at < timestamp '{{ var("cutoff") }}' - interval 1 day
