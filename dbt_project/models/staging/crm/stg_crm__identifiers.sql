{{ identifiers_of(
    source_rows('crm', 'persons'),
    record_id('crm.persons', 'person_no'),
    [
        ['person_no', 'person_no', 'true'],
        ['member_no', 'member_no', 'false'],
        ['phone', real_phone('mobile'), 'false'],
        ['phone', real_phone('phone'), 'false'],
        ['email', real_email('email'), 'false'],
    ],
    'created_at',
    'updated_at'
) }}
union all
{{ identifiers_of(
    source_rows('crm', 'contacts'),
    record_id('crm.contacts', 'contact_id'),
    [
        ['phone', real_phone('mobile'), 'false'],
        ['email', real_email('email'), 'false'],
    ],
    'created_at',
    'updated_at'
) }}
union all
{{ identifiers_of(
    source_rows('crm', 'leads'),
    record_id('crm.leads', 'lead_id'),
    [
        ['person_no', 'person_no', 'true'],
        ['phone', real_phone('mobile'), 'false'],
        ['email', real_email('email'), 'false'],
    ],
    'created_at',
    'updated_at'
) }}
union all
{{ identifiers_of(
    source_rows('crm', 'organisations'),
    record_id('crm.organisations', 'org_no'),
    [
        ['phone', real_phone('phone'), 'false'],
    ],
    'created_at',
    'updated_at'
) }}
