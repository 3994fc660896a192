{{ config(materialized='table') }}

-- Which customers live together, as far as their records say. Two are tied by one flat and one family
-- name, or by a number that both use (and that identity resolution knows for two persons) together with
-- the flat or the family name. A flat or number of more than six customers is a dormitory, an office or a
-- shop, and ties nobody.
{%- set rounds = 4 %}
with records as (
    select
        records.customer_id,
        found.family,
        found.road_home,
        found.estate_home
    from {{ source('identity', 'record_persons') }} as found
    inner join {{ ref('customer_records') }} as records on found.record_id = records.record_id
    where records.entity = 'person'
),

places as (
    select
        customer_id,
        'home:' || road_home as place
    from records
    where road_home is not null
    union
    select
        customer_id,
        'home:' || estate_home as place
    from records
    where estate_home is not null
    union
    select
        known.customer_id,
        'phone:' || known.value as place
    from {{ source('identity', 'customer_identifiers') }} as known
    left join {{ source('identity', 'identity_stop_list') }} as stopped
        on known.kind = stopped.kind and known.value = stopped.value
    where
        known.kind = 'phone'
        and known.learned_to is null
        and known.held_to is null
        and stopped.value is null
),

shared as (
    select *
    from places
    qualify count(*) over (partition by place) between 2 and 6
),

families as (
    select distinct
        customer_id,
        family
    from records
    where family is not null
),

pairs as (
    select
        first_one.customer_id as customer_l,
        other.customer_id as customer_r,
        bool_or(first_one.place like 'home:%') as is_one_home,
        bool_or(first_one.place like 'phone:%') as is_one_phone
    from shared as first_one
    inner join shared as other on first_one.place = other.place and first_one.customer_id < other.customer_id
    group by first_one.customer_id, other.customer_id
),

namesakes as (
    select distinct
        pairs.customer_l,
        pairs.customer_r
    from pairs
    inner join families as first_one on pairs.customer_l = first_one.customer_id
    inner join families as other on pairs.customer_r = other.customer_id and first_one.family = other.family
),

ties as (
    select
        pairs.customer_l,
        pairs.customer_r,
        case
            when pairs.is_one_home and namesakes.customer_l is not null and pairs.is_one_phone
                then 'address, family name and phone'
            when pairs.is_one_home and namesakes.customer_l is not null then 'address and family name'
            when pairs.is_one_home then 'address and phone'
            else 'phone and family name'
        end as tie
    from pairs
    left join namesakes
        on pairs.customer_l = namesakes.customer_l and pairs.customer_r = namesakes.customer_r
    where
        (pairs.is_one_home and (namesakes.customer_l is not null or pairs.is_one_phone))
        or (pairs.is_one_phone and namesakes.customer_l is not null)
),

edges as (
    select
        customer_l as customer_id,
        customer_r as other_id,
        tie
    from ties
    union all
    select
        customer_r as customer_id,
        customer_l as other_id,
        tie
    from ties
),

-- The smallest id that is reached in a few steps names the household; families are no long chains.
round_0 as (
    select distinct
        customer_id,
        customer_id as first_id
    from edges
)
{%- for number in range(1, rounds + 1) %},

round_{{ number }} as (
    select
        edges.customer_id,
        least(min(mine.first_id), min(others.first_id)) as first_id
    from edges
    inner join round_{{ number - 1 }} as mine on edges.customer_id = mine.customer_id
    inner join round_{{ number - 1 }} as others on edges.other_id = others.customer_id
    group by edges.customer_id
)
{%- endfor %},

tied as (
    select
        customer_id,
        min(tie) as tie
    from edges
    group by customer_id
)

select
    found.customer_id,
    'h' || substr(md5(found.first_id), 1, 16) as household_id,
    tied.tie
from round_{{ rounds }} as found
inner join tied on found.customer_id = tied.customer_id
