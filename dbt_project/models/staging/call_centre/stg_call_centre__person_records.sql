select
    {{ record_id('call_centre.tickets', 'ticket_id') }} as record_id,
    'person' as entity,
    {{ plain_text('customer_name') }} as full_name,
    opened_at as created_at,
    updated_at
from {{ source_rows('call_centre', 'tickets') }} as tickets
