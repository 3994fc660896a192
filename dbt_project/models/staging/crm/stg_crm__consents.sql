select
    {{ piece('consent_id') }} as piece,
    'record' as identifier_type,
    {{ record_id('crm.persons', 'person_no') }} as identifier_value,
    cast(consent_id as varchar) as consent_id,
    case purpose when '营销' then 'marketing' when '服务通知' then 'service' else 'personalisation' end as purpose,
    channel,
    status = 'granted' as is_granted,
    case legal_basis when '合同履行' then 'contract' else 'consent' end as legal_basis,
    source as captured_in,
    captured_at,
    withdrawn_at
from {{ source_rows('crm', 'consents', piece='consent_id') }} as consents
