select
    facts.source || '-' || facts.lead_id as lead_key,
    customers.customer_id,
    facts.source,
    facts.lead_id,
    facts.origin,
    facts.product_line,
    facts.budget_cents,
    facts.status,
    facts.sales_id,
    facts.created_at,
    facts.assigned_at,
    facts.first_contact_at,
    facts.converted_at
from {{ ref('union_leads') }} as facts
left join {{ ref('identify_customers') }} as customers
    on
        facts.identifier_type = customers.identifier_type
        and facts.identifier_value = customers.identifier_value
