select
    {{ record_id('campaigns.contacts', 'contact_id') }} as record_id,
    'person' as entity,
    {{ plain_text('full_name') }} as full_name,
    city,
    created_at,
    updated_at
from {{ source_rows('campaigns', 'contacts') }} as contacts
