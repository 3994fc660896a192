with known as (
    select
        record_id,
        unnest(known, recursive := true),
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record_id('crm.persons', 'person_no') }} as record_id,
            [
                {'kind': 'person_no', 'value': cast(person_no as varchar), 'is_verified': true},
                {'kind': 'member_no', 'value': member_no, 'is_verified': false},
                {'kind': 'phone', 'value': {{ real_phone('mobile') }}, 'is_verified': false},
                {'kind': 'phone', 'value': {{ real_phone('phone') }}, 'is_verified': false},
                {'kind': 'email', 'value': {{ real_email('email') }}, 'is_verified': false}
            ] as known,
            created_at as first_seen_at,
            updated_at as last_seen_at
        from {{ source_rows('crm', 'persons') }} as persons
    ) as records
    union all by name
    select
        record_id,
        unnest(known, recursive := true),
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record_id('crm.contacts', 'contact_id') }} as record_id,
            [
                {'kind': 'phone', 'value': {{ real_phone('mobile') }}, 'is_verified': false},
                {'kind': 'email', 'value': {{ real_email('email') }}, 'is_verified': false}
            ] as known,
            created_at as first_seen_at,
            updated_at as last_seen_at
        from {{ source_rows('crm', 'contacts') }} as contacts
    ) as records
    union all by name
    select
        record_id,
        unnest(known, recursive := true),
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record_id('crm.leads', 'lead_id') }} as record_id,
            [
                {'kind': 'person_no', 'value': person_no, 'is_verified': true},
                {'kind': 'phone', 'value': {{ real_phone('mobile') }}, 'is_verified': false},
                {'kind': 'email', 'value': {{ real_email('email') }}, 'is_verified': false}
            ] as known,
            created_at as first_seen_at,
            updated_at as last_seen_at
        from {{ source_rows('crm', 'leads') }} as leads
    ) as records
    union all by name
    select
        record_id,
        unnest(known, recursive := true),
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record_id('crm.organisations', 'org_no') }} as record_id,
            [
                {'kind': 'phone', 'value': {{ real_phone('phone') }}, 'is_verified': false}
            ] as known,
            created_at as first_seen_at,
            updated_at as last_seen_at
        from {{ source_rows('crm', 'organisations') }} as organisations
    ) as records
)

select
    record_id,
    kind,
    value as value_normalised,
    is_verified,
    first_seen_at,
    last_seen_at
from known
where value is not null
