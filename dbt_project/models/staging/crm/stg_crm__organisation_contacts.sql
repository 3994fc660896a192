select
    {{ record_id('crm.contacts', 'contact_id') }} as record_id,
    {{ record_id('crm.organisations', 'org_no') }} as organisation_record_id,
    title,
    department,
    is_decision_maker,
    created_at as since_at
from {{ source_rows('crm', 'contacts') }} as contacts
where org_no is not null
