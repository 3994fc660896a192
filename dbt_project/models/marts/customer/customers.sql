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

-- Where most of its records are.
regions as (
    select
        records.customer_id,
        regions.province_code,
        regions.city_code
    from {{ ref('customer_records') }} as records
    inner join {{ ref('locate_records') }} as regions on records.record_id = regions.record_id
    group by records.customer_id, regions.province_code, regions.city_code
    qualify
        row_number() over (
            partition by records.customer_id
            order by
                regions.city_code is null asc, count(*) desc, regions.city_code asc, regions.province_code asc
        ) = 1
),

profiles as (
    select
        identified.customer_id,
        max(profiles.age_band) as age_band,
        max(profiles.income_band) as income_band,
        max(profiles.home_ownership) as home_ownership,
        max(profiles.marital_status) as marital_status,
        max(profiles.household_size) as household_size,
        max(profiles.household_composition) as household_composition,
        max(profiles.kids_count) as kids_count,
        max(profiles.loyalty_tier) as loyalty_tier
    from {{ ref('union_customer_profiles') }} as profiles
    inner join {{ ref('identify_customers') }} as identified
        on
            profiles.identifier_type = identified.identifier_type
            and profiles.identifier_value = identified.identifier_value
    group by identified.customer_id
)

select
    seen.customer_id,
    seen.first_seen_on,
    seen.last_seen_on,
    seen.source_systems,
    coalesce(records.records, 0) as records,
    coalesce(records.is_organisation, false) as is_organisation,
    regions.province_code,
    regions.city_code,
    profiles.age_band,
    profiles.income_band,
    profiles.home_ownership,
    profiles.marital_status,
    profiles.household_size,
    profiles.household_composition,
    profiles.kids_count,
    profiles.loyalty_tier,
    profiles.customer_id is not null as has_profile
from seen
left join records on seen.customer_id = records.customer_id
left join regions on seen.customer_id = regions.customer_id
left join profiles on seen.customer_id = profiles.customer_id
