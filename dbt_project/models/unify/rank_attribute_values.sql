{{ config(materialized='table') }}

-- Every value that is claimed for an attribute of a customer, in the order of survivorship
-- (policies.yml): place 1 stands in the golden record. A value weighs one vote a record, three where
-- the source has verified it.
{%- set places = range(survivorship_places()) %}
with claims as (
    select
        *,
        {{ master_place('attribute', 'source') }} as master_place,
        {{ place_in(var('survivorship').trust, 'source') }} as trust_place
    from {{ ref('claim_attributes') }}
),

evidence as (
    select
        customer_id,
        attribute,
        value,
        source,
        record_id
    from claims
    qualify
        row_number() over (
            partition by customer_id, attribute, value
            order by
                master_place asc,
                is_verified desc,
                trust_place asc,
                observed_at desc nulls last,
                record_id asc
        ) = 1
),

support as (
    select
        customer_id,
        attribute,
        value,
        min(master_place) as master_place,
        min(trust_place) as trust_place,
        bool_or(is_verified) as is_verified,
        bool_or(is_whole) as is_whole,
        min(detail) as detail,
        max(observed_at) as observed_at,
        count(*) as records,
        count(distinct source) as sources,
        sum(case when is_verified then 3 else 1 end) as votes
    from claims
    group by customer_id, attribute, value
),

measured as (
    select
        *,
        cast(master_place as double) as key_master
        {%- for place in places -%}
        ,
        {{ rule_at(place, 'number') }} as key_{{ place }},
        {{ rule_at(place, 'name') }} as rule_{{ place }}
        {%- endfor %}
    from support
),

ranked as (
    select
        *,
        row_number() over (
            partition by customer_id, attribute
            order by
                key_master asc,
                {%- for place in places %}
                key_{{ place }} asc,
                {%- endfor %}
                value asc
        ) as place
    from measured
),

-- Beside each value the one that it beat.
compared as (
    select
        ranked.*,
        count(*) over whole as candidates,
        sum(ranked.votes) over whole as all_votes,
        {%- for each in places %}
        lead(ranked.key_{{ each }}) over by_place as next_{{ each }},
        {%- endfor %}
        lead(ranked.key_master) over by_place as next_master
    from ranked
    window
        whole as (partition by ranked.customer_id, ranked.attribute),
        by_place as (partition by ranked.customer_id, ranked.attribute order by ranked.place)
)

select
    compared.customer_id,
    compared.attribute,
    cast(compared.place as integer) as place,
    compared.value,
    case
        when {{ is_personal_attribute('compared.attribute') }}
            then {{ personal_token('compared.attribute', 'compared.value') }}
    end as token,
    compared.detail,
    evidence.source,
    evidence.record_id,
    compared.observed_at,
    compared.is_verified,
    cast(compared.records as integer) as records,
    cast(compared.sources as integer) as sources,
    cast(compared.candidates as integer) as candidates,
    -- Laplace: one value in one record is two thirds sure, and no number of records is certainty.
    cast(compared.votes + 1 as double) / (compared.all_votes + 2) as confidence,
    case
        when compared.candidates = 1 then 'only_value'
        when compared.key_master < compared.next_master then 'master'
        {%- for each in places %}
        when compared.key_{{ each }} < compared.next_{{ each }} then compared.rule_{{ each }}
        {%- endfor %}
        else 'first_by_spelling'
    end as rule
from compared
inner join evidence
    on
        compared.customer_id = evidence.customer_id
        and compared.attribute = evidence.attribute
        and compared.value = evidence.value
