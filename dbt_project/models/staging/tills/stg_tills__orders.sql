-- Who bought is known by the card that was shown, else by the number that was said.
select
    {{ piece('receipt_no') }} as piece,
    case
        when member_no is not null then 'member_no'
        when {{ real_phone('phone') }} is not null then 'phone'
    end as identifier_type,
    coalesce(member_no, {{ real_phone('phone') }}) as identifier_value,
    receipt_no as order_id,
    store_code as store_id,
    'store' as channel,
    case when total_yuan < 0 then 'returned' else 'completed' end as status,
    false as is_cancelled,
    sold_at as ordered_at,
    sold_at as paid_at,
    cast(null as timestamp) as shipped_at,
    sold_at as delivered_at,
    {{ minor_units('total_yuan') }} as goods_cents,
    {{ minor_units('discount_yuan') }} as discount_cents,
    cast(0 as bigint) as shipping_cents,
    {{ minor_units('paid_yuan') }} as paid_cents,
    '{{ var("currency") }}' as currency,
    payment as payment_method,
    cast(null as varchar) as coupon_id,
    cast(null as varchar) as text_key
from {{ source_rows('tills', 'receipts', piece='receipt_no') }} as receipts
