select
    groups.persona_number,
    groups.name,
    groups.description,
    groups.customers,
    groups.share,
    cast(round(avg(customer_values.expected_spend_cents)) as bigint) as expected_spend_cents,
    groups.model_version
from {{ source('scores', 'personas') }} as groups
left join {{ source('scores', 'customer_personas') }} as members
    on groups.persona_number = members.persona_number
left join {{ ref('customer_value') }} as customer_values
    on members.customer_id = customer_values.customer_id
group by all
