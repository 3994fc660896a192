-- Each message of a case, the agents' too.
select
    'record' as identifier_type,
    {{ record_id('call_centre.tickets', 'ticket_id') }} as identifier_value,
    {{ record_id('call_centre.messages', 'message_id') }} as text_id,
    'message' as kind,
    sent_at as said_at,
    body
from {{ source_rows('call_centre', 'messages') }} as messages
where body is not null
