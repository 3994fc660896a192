-- Who bought is known by the card that was shown, else by the number that was said. The discount of a
-- receipt is shared among its lines by their amounts; cents that are left over go to its first line.
with lines as (
    select
        lines.receipt_no,
        lines.line_no,
        lines.sku,
        lines.quantity,
        {{ minor_units('lines.amount_yuan') }} as goods_cents,
        {{ minor_units('receipts.discount_yuan') }} as receipt_discount_cents,
        receipts.store_code,
        receipts.member_no,
        {{ real_phone('receipts.phone') }} as phone,
        receipts.sold_at
    from {{ source_rows('tills', 'receipt_lines', piece='receipt_no') }} as lines
    left join {{ source_rows('tills', 'receipts', piece='receipt_no') }} as receipts
        on lines.receipt_no = receipts.receipt_no
),

shares as (
    select
        *,
        coalesce(
            floor(
                cast(receipt_discount_cents as double) * goods_cents
                / nullif(sum(goods_cents) over (partition by receipt_no), 0)
            ), 0
        ) as share_cents,
        row_number() over (partition by receipt_no order by line_no) as place
    from lines
),

discounts as (
    select
        *,
        cast(
            share_cents
            + case
                when place = 1
                    then coalesce(receipt_discount_cents, 0) - sum(share_cents) over (partition by receipt_no)
                else 0
            end as bigint
        ) as discount_cents
    from shares
)

select
    {{ piece('receipt_no') }} as piece,
    case when member_no is not null then 'member_no' when phone is not null then 'phone' end
        as identifier_type,
    coalesce(member_no, phone) as identifier_value,
    receipt_no as order_id,
    cast(line_no as varchar) as line_id,
    sku as product_id,
    'shop' as catalogue,
    store_code as store_id,
    'store' as channel,
    false as is_cancelled,
    sold_at as ordered_at,
    quantity,
    discount_cents,
    goods_cents - discount_cents as amount_cents,
    '{{ var("currency") }}' as currency
from discounts
