-- Persons, the contacts at organisations, leads, and the organisations themselves.
select
    {{ record_id('crm.persons', 'person_no') }} as record_id,
    'person' as entity,
    {{ plain_text('full_name') }} as full_name,
    birthday,
    cast(null as varchar) as birthday_calendar,
    gender as sex,
    province,
    city,
    district,
    {{ plain_text('address') }} as address,
    cast(null as varchar) as organisation_name,
    cast(null as varchar) as credit_code,
    created_at,
    updated_at
from {{ source_rows('crm', 'persons') }} as persons
union all
select
    {{ record_id('crm.contacts', 'contact_id') }} as record_id,
    'person' as entity,
    {{ plain_text('full_name') }} as full_name,
    cast(null as varchar) as birthday,
    cast(null as varchar) as birthday_calendar,
    cast(null as varchar) as sex,
    cast(null as varchar) as province,
    cast(null as varchar) as city,
    cast(null as varchar) as district,
    cast(null as varchar) as address,
    cast(null as varchar) as organisation_name,
    cast(null as varchar) as credit_code,
    created_at,
    updated_at
from {{ source_rows('crm', 'contacts') }} as contacts
union all
select
    {{ record_id('crm.leads', 'lead_id') }} as record_id,
    'person' as entity,
    {{ plain_text('full_name') }} as full_name,
    cast(null as varchar) as birthday,
    cast(null as varchar) as birthday_calendar,
    cast(null as varchar) as sex,
    province,
    city,
    cast(null as varchar) as district,
    cast(null as varchar) as address,
    cast(null as varchar) as organisation_name,
    cast(null as varchar) as credit_code,
    created_at,
    updated_at
from {{ source_rows('crm', 'leads') }} as leads
union all
select
    {{ record_id('crm.organisations', 'org_no') }} as record_id,
    'organisation' as entity,
    cast(null as varchar) as full_name,
    cast(null as varchar) as birthday,
    cast(null as varchar) as birthday_calendar,
    cast(null as varchar) as sex,
    province,
    city,
    district,
    {{ plain_text('address') }} as address,
    {{ plain_text('name') }} as organisation_name,
    credit_code,
    created_at,
    updated_at
from {{ source_rows('crm', 'organisations') }} as organisations
