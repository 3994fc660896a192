select
    facts.source || '-' || facts.case_id as case_key,
    customers.customer_id,
    facts.source,
    facts.case_id,
    facts.channel,
    facts.topic,
    facts.priority,
    facts.status,
    facts.subject,
    facts.agent_id,
    facts.product_serial,
    facts.order_id,
    facts.article_id,
    facts.opened_at,
    {{ local_day('facts.opened_at') }} as opened_on,
    facts.first_response_at,
    facts.resolved_at,
    cast({{ minutes_between('facts.opened_at', 'facts.first_response_at') }} as integer) as first_response_minutes,
    cast({{ minutes_between('facts.opened_at', 'facts.resolved_at') }} as integer) as resolution_minutes,
    facts.reopened_count,
    facts.satisfaction,
    facts.messages
from {{ ref('union_service_cases') }} as facts
left join {{ ref('identify_customers') }} as customers
    on
        facts.identifier_type = customers.identifier_type
        and facts.identifier_value = customers.identifier_value
