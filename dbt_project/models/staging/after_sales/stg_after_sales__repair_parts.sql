select
    visit_no as repair_id,
    cast(line_no as varchar) as line_id,
    part_no as part_id,
    part_name as name,
    quantity,
    {{ minor_units('price_yuan') }} as price_cents
from {{ source_rows('after_sales', 'parts') }} as parts
