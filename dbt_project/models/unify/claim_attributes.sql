{{ config(materialized='table') }}

-- What each record says of its customer: one row a customer, attribute, value and record. A value that
-- nobody could use (a number on the stop-list or passed to somebody else, a day typed to get past a
-- form, a name of pictures) is no claim.
with people as (
    select
        records.customer_id,
        records.source,
        people.record_id,
        people.updated_at as observed_at,
        case
            when records.entity = 'organisation' then {{ plain_text('people.organisation_name') }}
            else {{ written_name('people.full_name') }}
        end as name,
        records.entity = 'organisation' as is_organisation,
        case
            when upper({{ plain_text('people.sex') }}) in ('M', 'MALE', '男', '1') then 'M'
            when upper({{ plain_text('people.sex') }}) in ('F', 'FEMALE', '女', '2') then 'F'
        end as sex,
        try_cast(found.birthday as date) as born_on,
        case
            when people.birthday_calendar = 'lunar' or contains(people.birthday, '农历') then 'lunar'
            else 'solar'
        end as birthday_calendar,
        case
            when contains(people.address, people.city) then {{ plain_text('people.address') }}
            when people.address is not null
                then {{ plain_text("concat(people.province, people.city, people.district, people.address)") }}
        end as address,
        regions.province_code,
        regions.city_code
    from {{ ref('union_person_records') }} as people
    inner join {{ ref('customer_records') }} as records on people.record_id = records.record_id
    left join {{ source('identity', 'record_persons') }} as found on people.record_id = found.record_id
    left join {{ ref('locate_records') }} as regions on people.record_id = regions.record_id
),

profiles as (
    select
        identified.customer_id,
        profiles.*,
        case
            when profiles.identifier_type = 'record' then profiles.identifier_value
            else profiles.source || ':' || profiles.identifier_value
        end as record_id
    from {{ ref('union_customer_profiles') }} as profiles
    inner join {{ ref('identify_customers') }} as identified
        on
            profiles.identifier_type = identified.identifier_type
            and profiles.identifier_value = identified.identifier_value
),

-- A number that passed to somebody else, or that too many use, reaches the wrong person.
reached as (
    select
        records.customer_id,
        records.source,
        known.record_id,
        known.kind,
        known.value_normalised,
        known.is_verified,
        known.last_seen_at as observed_at
    from {{ ref('union_identifiers') }} as known
    inner join {{ ref('customer_records') }} as records on known.record_id = records.record_id
    left join {{ source('identity', 'identity_stop_list') }} as stopped
        on known.kind = stopped.kind and known.value_normalised = stopped.value
    left join {{ source('identity', 'customer_identifiers') }} as passed
        on
            known.record_id = passed.record_id
            and known.kind = passed.kind
            and known.value_normalised = passed.value
            and passed.learned_to is null
            and passed.held_to <= timestamp '{{ var("cutoff") }}'
    where known.kind in ('phone', 'email') and stopped.value is null and passed.value is null
),

claims as (
    select
        customer_id,
        'name' as attribute,
        name as value,
        source,
        record_id,
        false as is_verified,
        is_organisation or {{ family_name('name') }} is null or {{ given_name('name') }} is not null
            as is_whole,
        cast(null as varchar) as detail,
        observed_at
    from people
    union all
    select
        customer_id,
        'sex' as attribute,
        sex as value,
        source,
        record_id,
        false as is_verified,
        true as is_whole,
        cast(null as varchar) as detail,
        observed_at
    from people
    union all
    select
        customer_id,
        'birthday' as attribute,
        cast(born_on as varchar) as value,
        source,
        record_id,
        false as is_verified,
        true as is_whole,
        birthday_calendar as detail,
        observed_at
    from people
    -- Forms that insist on a day get the first that the calendar offers.
    where born_on >= date '1905-01-01' and born_on <= {{ as_of() }} and born_on <> date '1970-01-01'
    union all
    select
        customer_id,
        'address' as attribute,
        address as value,
        source,
        record_id,
        false as is_verified,
        city_code is not null as is_whole,
        cast(null as varchar) as detail,
        observed_at
    from people
    union all
    select
        customer_id,
        'region' as attribute,
        coalesce(city_code, province_code) as value,
        source,
        record_id,
        false as is_verified,
        city_code is not null as is_whole,
        case when city_code is not null then 'city' else 'province' end as detail,
        observed_at
    from people
    union all
    select
        customer_id,
        kind as attribute,
        value_normalised as value,
        source,
        record_id,
        is_verified,
        kind = 'email' or {{ phone_kind('value_normalised') }} = 'mobile' as is_whole,
        cast(null as varchar) as detail,
        observed_at
    from reached
    {%- for attribute in profile_attributes() %}
    union all
    select
        customer_id,
        '{{ attribute }}' as attribute,
        {{ plain_text(attribute) }} as value,
        source,
        record_id,
        false as is_verified,
        true as is_whole,
        cast(null as varchar) as detail,
        cast(null as timestamp) as observed_at
    from profiles
    {%- endfor %}
)

select
    customer_id,
    attribute,
    value,
    source,
    record_id,
    bool_or(coalesce(is_verified, false)) as is_verified,
    bool_or(coalesce(is_whole, true)) as is_whole,
    min(detail) as detail,
    max(observed_at) as observed_at
from claims
where value is not null
group by customer_id, attribute, value, source, record_id
