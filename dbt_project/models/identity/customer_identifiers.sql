-- Numbers and addresses at which a person is reached stand here as digests.
select
    coalesce(sightings.customer_id, identified.customer_id) as customer_id,
    sightings.identifier_type,
    case
        when sightings.identifier_type in ('phone', 'email')
            then 't' || substr(md5(sightings.identifier_type || ':' || sightings.identifier_value), 1, 24)
        else sightings.identifier_value
    end as identifier_value,
    sightings.source,
    min(sightings.first_seen_on) as first_seen_on,
    max(sightings.last_seen_on) as last_seen_on
from {{ ref('identifier_sightings') }} as sightings
inner join {{ ref('identify_customers') }} as identified
    on
        sightings.identifier_type = identified.identifier_type
        and sightings.identifier_value = identified.identifier_value
group by all
