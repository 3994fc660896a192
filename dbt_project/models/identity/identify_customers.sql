{{ config(materialized='incremental', database='workspace', schema='unify') }}

-- Who is meant by an identifier. One that nobody or more than one customer holds is a customer of
-- its own: better unknown than the wrong person.
select
    identifier_type,
    identifier_value,
    case
        when count(distinct customer_id) = 1 then min(customer_id)
        else {{ customer_of('identifier_type', 'identifier_value') }}
    end as customer_id
from {{ ref('identifier_sightings') }}
group by identifier_type, identifier_value
