-- What was written on an order.
select
    'record' as identifier_type,
    {{ record_id('shop.accounts', 'account_id') }} as identifier_value,
    {{ record_id('shop.orders', 'order_no') }} as text_id,
    'remark' as kind,
    ordered_at as said_at,
    remark as body
from {{ source_rows('shop', 'orders') }} as orders
where remark is not null
