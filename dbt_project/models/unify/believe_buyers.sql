{{ config(materialized='table') }}

-- Who we believed the buyer of an order to be, from day to day: the identifier that the order was placed
-- under, and its customer from known_from until before known_to. As today (identify_customers), one
-- that nobody or more than one customer holds is a customer of its own.
with buyers as (
    select distinct
        identifier_type,
        identifier_value
    from {{ ref('union_order_lines') }}
    where identifier_value is not null
),

holdings as (
    select
        'record' as identifier_type,
        memberships.record_id as identifier_value,
        memberships.customer_id,
        cast(memberships.learned_from as date) as known_from,
        cast(memberships.learned_to as date) as known_to
    from {{ source('identity', 'record_memberships') }} as memberships
    union all
    select
        kind as identifier_type,
        value as identifier_value,
        customer_id,
        cast(learned_from as date) as known_from,
        cast(learned_to as date) as known_to
    from {{ source('identity', 'customer_identifiers') }}
),

held as (
    select
        holdings.identifier_type,
        holdings.identifier_value,
        holdings.customer_id,
        coalesce(holdings.known_from, date '1900-01-01') as known_from,
        holdings.known_to
    from holdings
    inner join buyers
        on
            holdings.identifier_type = buyers.identifier_type
            and holdings.identifier_value = buyers.identifier_value
    where holdings.known_to is null or coalesce(holdings.known_from, date '1900-01-01') < holdings.known_to
),

moments as (
    select
        identifier_type,
        identifier_value,
        known_from as day
    from held
    union
    select
        identifier_type,
        identifier_value,
        known_to as day
    from held
    where known_to is not null
    union
    select
        identifier_type,
        identifier_value,
        date '1900-01-01' as day
    from held
    where identifier_type <> 'record'
),

spans as (
    select
        identifier_type,
        identifier_value,
        day as known_from,
        lead(day) over (partition by identifier_type, identifier_value order by day) as known_to
    from moments
),

believed as (
    select
        spans.identifier_type,
        spans.identifier_value,
        spans.known_from,
        spans.known_to,
        count(distinct held.customer_id) as holders,
        min(held.customer_id) as holder
    from spans
    left join held
        on
            spans.identifier_type = held.identifier_type
            and spans.identifier_value = held.identifier_value
            and spans.known_from >= held.known_from
            -- Comparisons alone: with an "or" DuckDB would compare every row with every row.
            and spans.known_from < coalesce(held.known_to, date '9999-12-31')
    group by spans.identifier_type, spans.identifier_value, spans.known_from, spans.known_to
)

select
    identifier_type,
    identifier_value,
    case when holders = 1 then holder else {{ customer_of('identifier_type', 'identifier_value') }} end
        as customer_id,
    known_from,
    known_to
from believed
where holders > 0 or identifier_type <> 'record'
