select
    'record' as identifier_type,
    {{ record_id('call_centre.tickets', 'ticket_id') }} as identifier_value,
    cast(ticket_id as varchar) as case_id,
    channel,
    topic,
    priority,
    status,
    subject,
    cast(agent_id as varchar) as agent_id,
    serial_no as product_serial,
    order_no as order_reference,
    cast(article_id as varchar) as article_id,
    opened_at,
    first_response_at,
    resolved_at,
    reopened_count,
    satisfaction
from {{ source_rows('call_centre', 'tickets') }} as tickets
