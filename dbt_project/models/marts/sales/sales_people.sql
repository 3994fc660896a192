select
    source || '-' || sales_id as sales_person_key,
    sales_id,
    source,
    team,
    province_code,
    product_line,
    coalesce(is_active, false) as is_active,
    hired_on
from {{ ref('union_sales_people') }}
