-- Numbers and addresses at which a person is reached stand here as digests. Rows of the present have
-- no learned_to; what was once believed of a customer, and is no more, follows below them.
with present as (
    select
        coalesce(sightings.customer_id, identified.customer_id) as customer_id,
        sightings.identifier_type,
        sightings.identifier_value,
        sightings.source,
        min(sightings.first_seen_on) as first_seen_on,
        max(sightings.last_seen_on) as last_seen_on
    from {{ ref('identifier_sightings') }} as sightings
    inner join {{ ref('identify_customers') }} as identified
        on
            sightings.identifier_type = identified.identifier_type
            and sightings.identifier_value = identified.identifier_value
    group by all
),

-- Of what a source says of another one's record, the record knows.
held as (
    select
        held.customer_id,
        held.kind as identifier_type,
        held.value as identifier_value,
        min(records.source) as source,
        min(held.held_from) as held_from,
        case when bool_and(held.held_to is not null) then max(held.held_to) end as held_to,
        min(held.learned_from) as learned_from,
        held.learned_to
    from {{ source('identity', 'customer_identifiers') }} as held
    inner join {{ ref('customer_records') }} as records on held.record_id = records.record_id
    group by held.customer_id, held.kind, held.value, held.learned_to
)

select
    present.customer_id,
    present.identifier_type,
    {{ published_identifier('present.identifier_type', 'present.identifier_value') }} as identifier_value,
    present.source,
    present.first_seen_on,
    present.last_seen_on,
    held.held_from,
    held.held_to,
    held.learned_from,
    cast(null as timestamp) as learned_to
from present
left join held
    on
        present.customer_id = held.customer_id
        and present.identifier_type = held.identifier_type
        and present.identifier_value = held.identifier_value
        and held.learned_to is null
union all
select
    customer_id,
    identifier_type,
    {{ published_identifier('identifier_type', 'identifier_value') }} as identifier_value,
    source,
    cast(null as date) as first_seen_on,
    cast(null as date) as last_seen_on,
    held_from,
    held_to,
    learned_from,
    learned_to
from held
where learned_to is not null
