select
    {{ piece('contact_id') }} as piece,
    'record' as identifier_type,
    {{ record_id('campaigns.contacts', 'contact_id') }} as identifier_value,
    cast(send_id as varchar) as send_id,
    cast(campaign_id as varchar) as campaign_id,
    channel,
    status,
    cost_fen as cost_cents,
    sent_at
from {{ source_rows('campaigns', 'sends', piece='contact_id') }} as sends
