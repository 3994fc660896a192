select
    facts.source || '-' || facts.return_id as return_key,
    customers.customer_id,
    facts.source,
    facts.return_id,
    facts.order_id,
    facts.product_id,
    facts.quantity,
    facts.refund_cents,
    facts.reason,
    facts.status,
    facts.requested_at,
    facts.refunded_at
from {{ ref('union_returns') }} as facts
left join {{ ref('identify_customers') }} as customers
    on
        facts.identifier_type = customers.identifier_type
        and facts.identifier_value = customers.identifier_value
