select
    {{ piece('basket_id') }} as piece,
    'household_id' as identifier_type,
    cast(household_id as varchar) as identifier_value,
    cast(basket_id as varchar) as order_id,
    cast(product_id as varchar) as line_id,
    cast(product_id as varchar) as product_id,
    cast(store_id as varchar) as store_id,
    'store' as channel,
    transaction_timestamp as ordered_at,
    quantity,
    cast(round((retail_disc + coupon_disc + coupon_match_disc) * 100) as bigint) as discount_cents,
    cast(round(sales_value * 100) as bigint) as amount_cents,
    '{{ var("currency") }}' as currency
from {{ source_rows('till', 'transactions', piece='basket_id') }} as transactions
