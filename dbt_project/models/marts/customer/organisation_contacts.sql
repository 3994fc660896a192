-- Who speaks for an organisation: a person may do so for several, and be a customer beside it.
select
    organisations.customer_id as organisation_id,
    persons.customer_id,
    max_by(contacts.title, contacts.since_at) as title,
    max_by(contacts.department, contacts.since_at) as department,
    bool_or(contacts.is_decision_maker) as is_decision_maker,
    min(contacts.since_at) as since_at,
    min(contacts.source) as source
from {{ ref('union_organisation_contacts') }} as contacts
inner join {{ ref('customer_records') }} as organisations
    on contacts.organisation_record_id = organisations.record_id
inner join {{ ref('customer_records') }} as persons on contacts.record_id = persons.record_id
group by organisations.customer_id, persons.customer_id
