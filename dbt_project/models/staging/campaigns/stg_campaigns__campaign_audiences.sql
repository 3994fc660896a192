select
    {{ piece('contact_id') }} as piece,
    'record' as identifier_type,
    {{ record_id('campaigns.contacts', 'contact_id') }} as identifier_value,
    cast(campaign_id as varchar) as campaign_id,
    arm,
    assigned_at
from {{ source_rows('campaigns', 'audience', piece='contact_id') }} as audience
