select
    source || '-' || product_id as product_key,
    product_id,
    source,
    department,
    category,
    product_type,
    brand,
    manufacturer_id,
    package_size
from {{ ref('union_products') }}
