select
    facts.source || '-' || facts.consent_id as consent_key,
    customers.customer_id,
    facts.source,
    facts.consent_id,
    facts.purpose,
    facts.channel,
    facts.is_granted,
    facts.legal_basis,
    facts.captured_at,
    facts.withdrawn_at
from {{ ref('union_consents') }} as facts
left join {{ ref('identify_customers') }} as customers
    on
        facts.identifier_type = customers.identifier_type
        and facts.identifier_value = customers.identifier_value
