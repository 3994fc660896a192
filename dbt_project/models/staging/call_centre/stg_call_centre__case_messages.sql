select
    {{ piece('ticket_id') }} as piece,
    'record' as identifier_type,
    {{ record_id('call_centre.tickets', 'ticket_id') }} as identifier_value,
    cast(message_id as varchar) as message_id,
    cast(ticket_id as varchar) as case_id,
    seq,
    sender,
    cast(article_id as varchar) as article_id,
    case when body is not null then {{ record_id('call_centre.messages', 'message_id') }} end as text_key,
    sent_at
from {{ source_rows('call_centre', 'messages', piece='ticket_id') }} as messages
