select
    cast(product_id as varchar) as product_id,
    department,
    product_category as category,
    product_type,
    brand,
    cast(manufacturer_id as varchar) as manufacturer_id,
    package_size
from {{ source_rows('till', 'products') }} as products
