with seen as (
    select
        customer_id,
        min(first_seen_on) as first_seen_on,
        max(last_seen_on) as last_seen_on,
        cast(count(distinct source) as integer) as source_systems
    from {{ ref('customer_identifiers') }}
    group by customer_id
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
        max(profiles.kids_count) as kids_count
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
    profiles.age_band,
    profiles.income_band,
    profiles.home_ownership,
    profiles.marital_status,
    profiles.household_size,
    profiles.household_composition,
    profiles.kids_count,
    profiles.customer_id is not null as has_profile
from seen
left join profiles on seen.customer_id = profiles.customer_id
