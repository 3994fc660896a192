select
    source || '-' || product_id as product_key,
    product_id,
    source,
    name,
    model,
    department,
    category,
    product_type,
    brand,
    manufacturer_id,
    package_size,
    is_consumable,
    fits_category,
    list_price_cents,
    warranty_months,
    launched_on,
    status
from {{ ref('union_products') }}
