{{ config(uncompressed='customer_id') }}

-- Who a customer is: the golden record in one row. Values of a person are tokens; the vault has the rest.
with seen as (
    select
        customer_id,
        min(first_seen_on) as first_seen_on,
        max(last_seen_on) as last_seen_on,
        cast(count(distinct source) as integer) as source_systems
    from {{ ref('customer_identifiers') }}
    where learned_to is null
    group by customer_id
),

records as (
    select
        records.customer_id,
        bool_and(records.entity = 'organisation') as is_organisation,
        cast(count(*) as integer) as records
    from {{ ref('customer_records') }} as records
    group by records.customer_id
),

golden as (
    select
        customer_id,
        {%- for attribute in ['name', 'phone', 'email', 'address', 'birthday'] %}
        max(case when attribute = '{{ attribute }}' then token end) as {{ attribute }}_token,
        {%- endfor %}
        max(case when attribute = 'birthday' then detail end) as birthday_calendar,
        max(case when attribute = 'region' then left(value, 2) || '0000' end) as province_code,
        max(case when attribute = 'region' and detail = 'city' then value end) as city_code,
        max(case when attribute = 'sex' then value end) as sex,
        {%- for attribute in profile_attributes() %}
        max(case when attribute = '{{ attribute }}' then value end) as {{ attribute }},
        {%- endfor %}
        cast(count(*) as integer) as attributes_known,
        cast(sum(case when rivals > 0 then 1 else 0 end) as integer) as attributes_in_conflict,
        min(confidence) as least_confidence
    from {{ ref('customer_attributes') }}
    group by customer_id
),

told as (
    select distinct identified.customer_id
    from {{ ref('union_customer_profiles') }} as profiles
    inner join {{ ref('identify_customers') }} as identified
        on
            profiles.identifier_type = identified.identifier_type
            and profiles.identifier_value = identified.identifier_value
)

select
    seen.customer_id,
    seen.first_seen_on,
    seen.last_seen_on,
    seen.source_systems,
    coalesce(records.records, 0) as records,
    coalesce(records.is_organisation, false) as is_organisation,
    golden.name_token,
    golden.phone_token,
    golden.email_token,
    golden.address_token,
    golden.birthday_token,
    golden.birthday_calendar,
    golden.sex,
    golden.province_code,
    golden.city_code,
    {%- for attribute in profile_attributes() %}
    golden.{{ attribute }},
    {%- endfor %}
    told.customer_id is not null as has_profile,
    households.household_id,
    coalesce(golden.attributes_known, 0) as attributes_known,
    coalesce(golden.attributes_in_conflict, 0) as attributes_in_conflict,
    golden.least_confidence
from seen
left join records on seen.customer_id = records.customer_id
left join golden on seen.customer_id = golden.customer_id
left join told on seen.customer_id = told.customer_id
left join {{ ref('group_households') }} as households on seen.customer_id = households.customer_id
