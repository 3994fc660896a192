select
    sku as product_id,
    name,
    model,
    case when is_consumable then 'consumables' else 'appliances' end as department,
    category,
    series as product_type,
    is_consumable,
    fits_category,
    list_price_fen as list_price_cents,
    warranty_months,
    launched_on,
    status
from {{ source_rows('shop', 'products') }} as products
