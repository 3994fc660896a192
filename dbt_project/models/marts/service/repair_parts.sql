select
    source || '-' || repair_id || '-' || line_id as repair_part_key,
    source || '-' || repair_id as repair_key,
    source,
    part_id,
    name,
    quantity,
    price_cents
from {{ ref('union_repair_parts') }}
