select
    facts.source || '-' || facts.feedback_id as feedback_key,
    customers.customer_id,
    facts.source,
    facts.feedback_id,
    facts.kind,
    facts.platform,
    facts.product_id,
    facts.stars,
    facts.nps,
    facts.csat,
    facts.has_text,
    facts.given_at
from {{ ref('union_feedback') }} as facts
left join {{ ref('identify_customers') }} as customers
    on
        facts.identifier_type = customers.identifier_type
        and facts.identifier_value = customers.identifier_value
