select
    facts.source || '-' || facts.serial_id as product_key,
    customers.customer_id,
    facts.source,
    facts.serial_id,
    facts.product_id,
    facts.model,
    facts.batch,
    facts.partner_id,
    facts.purchase_channel,
    facts.order_id,
    facts.installed_on,
    facts.warranty_until,
    coalesce(facts.warranty_until >= {{ as_of() }}, false) as is_in_warranty
from {{ ref('union_installed_products') }} as facts
left join {{ ref('identify_customers') }} as customers
    on
        facts.identifier_type = customers.identifier_type
        and facts.identifier_value = customers.identifier_value
