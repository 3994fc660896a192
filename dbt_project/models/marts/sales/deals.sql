select
    facts.source || '-' || facts.deal_id as deal_key,
    customers.customer_id,
    facts.source,
    facts.deal_id,
    facts.product_line,
    facts.stage,
    facts.amount_cents,
    facts.lost_reason,
    facts.sales_id,
    facts.opened_at,
    facts.expected_close_on,
    facts.closed_at
from {{ ref('union_deals') }} as facts
left join {{ ref('identify_customers') }} as customers
    on
        facts.identifier_type = customers.identifier_type
        and facts.identifier_value = customers.identifier_value
