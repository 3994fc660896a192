select
    cast(sales_id as varchar) as sales_id,
    team,
    province_code,
    product_line,
    is_active,
    hired_on
from {{ source_rows('crm', 'sales_people') }} as sales_people
