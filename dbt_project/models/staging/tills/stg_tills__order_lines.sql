-- Who bought is known by the card that was shown, else by the number that was said.
select
    case
        when receipts.member_no is not null then 'member_no'
        when {{ real_phone('receipts.phone') }} is not null then 'phone'
    end as identifier_type,
    coalesce(receipts.member_no, {{ real_phone('receipts.phone') }}) as identifier_value,
    lines.receipt_no as order_id,
    cast(lines.line_no as varchar) as line_id,
    lines.sku as product_id,
    'shop' as catalogue,
    lines.store_code as store_id,
    'store' as channel,
    receipts.sold_at as ordered_at,
    lines.quantity,
    cast(0 as bigint) as discount_cents,
    {{ minor_units('lines.amount_yuan') }} as amount_cents,
    '{{ var("currency") }}' as currency
from {{ source_rows('tills', 'receipt_lines') }} as lines
inner join {{ source_rows('tills', 'receipts') }} as receipts on lines.receipt_no = receipts.receipt_no
