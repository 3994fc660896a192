select
    cast(cost_id as varchar) as cost_id,
    {{ adapter.quote('month') }} as {{ adapter.quote('month') }},
    channel,
    province,
    {{ minor_units('cost_yuan') }} as cost_cents,
    new_customers
from {{ source_rows('crm', 'acquisition_costs') }} as acquisition_costs
