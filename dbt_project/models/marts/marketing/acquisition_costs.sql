select
    source || '-' || cost_id as acquisition_cost_key,
    source,
    {{ adapter.quote('month') }} as {{ adapter.quote('month') }},
    channel,
    province,
    cost_cents,
    new_customers
from {{ ref('union_acquisition_costs') }}
