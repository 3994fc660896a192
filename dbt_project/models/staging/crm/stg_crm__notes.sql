-- What sales people noted of a visit or a call. Whom it was with: the person, else the lead, else the
-- organisation.
select
    'record' as identifier_type,
    case
        when person_no is not null then {{ record_id('crm.persons', 'person_no') }}
        when lead_id is not null then {{ record_id('crm.leads', 'lead_id') }}
        else {{ record_id('crm.organisations', 'org_no') }}
    end as identifier_value,
    {{ record_id('crm.activities', 'activity_id') }} as text_id,
    'note' as kind,
    happened_at as said_at,
    note as body
from {{ source_rows('crm', 'activities') }} as activities
where note is not null
