select
    facts.source || '-' || facts.transaction_id as transaction_key,
    customers.customer_id,
    facts.source,
    facts.transaction_id,
    facts.account_id,
    facts.kind,
    facts.points,
    facts.occurred_at,
    facts.expires_on
from {{ ref('union_loyalty_transactions') }} as facts
left join {{ ref('identify_customers') }} as customers
    on
        facts.identifier_type = customers.identifier_type
        and facts.identifier_value = customers.identifier_value
