select
    {{ piece('contact_id') }} as piece,
    'record' as identifier_type,
    {{ record_id('campaigns.contacts', 'contact_id') }} as identifier_value,
    cast(response_id as varchar) as response_id,
    cast(send_id as varchar) as send_id,
    cast(campaign_id as varchar) as campaign_id,
    kind,
    {{ adapter.quote('at') }} as responded_at
from {{ source_rows('campaigns', 'responses', piece='contact_id') }} as responses
