select
    source || '-' || store_id as store_key,
    store_id,
    source,
    name,
    province,
    city,
    district,
    latitude,
    longitude,
    opened_on
from {{ ref('union_stores') }}
