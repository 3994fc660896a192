-- Who unsubscribes takes the consent to marketing back, for every channel.
select
    'record' as identifier_type,
    {{ record_id('campaigns.contacts', 'contact_id') }} as identifier_value,
    'unsubscribe-' || cast(unsubscribe_id as varchar) as consent_id,
    'marketing' as purpose,
    'all' as channel,
    false as is_granted,
    'consent' as legal_basis,
    channel as captured_in,
    cast(null as timestamp) as captured_at,
    {{ adapter.quote('at') }} as withdrawn_at
from {{ source_rows('campaigns', 'unsubscribes') }} as unsubscribes
