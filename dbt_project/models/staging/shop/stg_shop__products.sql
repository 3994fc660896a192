select
    sku as product_id,
    case when is_consumable then 'consumables' else 'appliances' end as department,
    category,
    series as product_type,
    cast(null as varchar) as brand,
    cast(null as varchar) as manufacturer_id,
    cast(null as varchar) as package_size
from {{ source_rows('shop', 'products') }} as products
