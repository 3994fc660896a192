select
    facts.source || '-' || facts.account_id as account_key,
    customers.customer_id,
    facts.source,
    facts.account_id,
    facts.tier,
    facts.points_balance,
    facts.joined_at
from {{ ref('union_loyalty_accounts') }} as facts
left join {{ ref('identify_customers') }} as customers
    on
        facts.identifier_type = customers.identifier_type
        and facts.identifier_value = customers.identifier_value
