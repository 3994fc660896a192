select
    cast(price_id as varchar) as price_id,
    sku as product_id,
    price_fen as price_cents,
    reason,
    valid_from,
    valid_until
from {{ source_rows('shop', 'prices') }} as prices
