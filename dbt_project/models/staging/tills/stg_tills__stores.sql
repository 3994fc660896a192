select
    store_code as store_id,
    name,
    province,
    city,
    district,
    address,
    latitude,
    longitude,
    opened_on
from {{ source_rows('tills', 'stores') }} as stores
