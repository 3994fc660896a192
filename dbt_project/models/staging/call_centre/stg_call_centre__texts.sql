-- What the customer wrote or said in a case, all of it as one text. Its satisfaction is no rating of
-- the text: it was given for how the case ended.
select
    'record' as identifier_type,
    {{ record_id('call_centre.tickets', 'tickets.ticket_id') }} as identifier_value,
    {{ record_id('call_centre.tickets', 'tickets.ticket_id') }} as text_id,
    'case' as kind,
    min(messages.sent_at) as said_at,
    string_agg(messages.body, '。' order by messages.seq, messages.message_id) as body
from {{ source_rows('call_centre', 'tickets') }} as tickets
inner join {{ source_rows('call_centre', 'messages') }} as messages on tickets.ticket_id = messages.ticket_id
where messages.sender = 'customer' and messages.body is not null
group by tickets.ticket_id
