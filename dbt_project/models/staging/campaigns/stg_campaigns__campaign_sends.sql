-- What bounced or failed has reached nobody.
select
    'record' as identifier_type,
    {{ record_id('campaigns.contacts', 'contact_id') }} as identifier_value,
    cast(campaign_id as varchar) as campaign_id,
    sent_at
from {{ source_rows('campaigns', 'sends') }} as sends
where status = 'delivered'
