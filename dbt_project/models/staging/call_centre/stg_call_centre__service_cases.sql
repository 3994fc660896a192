with talks as (
    select
        ticket_id,
        count(*) as messages
    from {{ source_rows('call_centre', 'messages') }} as talks
    group by ticket_id
)

select
    'record' as identifier_type,
    {{ record_id('call_centre.tickets', 'tickets.ticket_id') }} as identifier_value,
    cast(tickets.ticket_id as varchar) as case_id,
    tickets.channel,
    tickets.topic,
    tickets.priority,
    tickets.status,
    tickets.subject,
    cast(tickets.agent_id as varchar) as agent_id,
    tickets.serial_no as product_serial,
    tickets.order_no as order_id,
    cast(tickets.article_id as varchar) as article_id,
    tickets.opened_at,
    tickets.first_response_at,
    tickets.resolved_at,
    tickets.reopened_count,
    tickets.satisfaction,
    coalesce(talks.messages, 0) as messages
from {{ source_rows('call_centre', 'tickets') }} as tickets
left join talks on tickets.ticket_id = talks.ticket_id
