select
    facts.source || '-' || facts.repair_id as repair_key,
    customers.customer_id,
    facts.source,
    facts.repair_id,
    facts.serial_id,
    facts.partner_id,
    facts.kind,
    facts.fault_code,
    facts.fault,
    facts.result,
    facts.engineer,
    facts.is_in_warranty,
    facts.reported_on,
    facts.visited_on,
    facts.labour_cents,
    facts.parts_cents,
    facts.parts
from {{ ref('union_repairs') }} as facts
left join {{ ref('identify_customers') }} as customers
    on
        facts.identifier_type = customers.identifier_type
        and facts.identifier_value = customers.identifier_value
