{{ config(
    materialized='incremental',
    piece="source || '-' || device_id",
    fed_by={'union_events': "source || '-' || device_id"},
    order_by='customer_id, started_at'
) }}

-- A session is what one device does without a pause of more than the minutes of policies.yml
-- (behaviour.session_gap_minutes). Its customer is who signed in during it, last; else whose device it is.
with events as (
    select
        *,
        lag(occurred_at) over (partition by source, device_id order by occurred_at, event_id) as previous_at,
        row_number() over (partition by source, device_id order by occurred_at, event_id) as turn
    from {{ rows_of('union_events') }}
),

marked as (
    select
        *,
        case
            when
                previous_at is null
                or occurred_at > {{ add_minutes('previous_at', var('session_gap_minutes')) }}
                then 1
            else 0
        end as is_first
    from events
),

numbered as (
    select
        *,
        sum(is_first) over (
            partition by source, device_id order by occurred_at, event_id rows unbounded preceding
        ) as place
    from marked
),

sessions as (
    select
        source,
        device_id,
        max(case when is_first = 1 then event_id end) as first_event_id,
        min(channel) as channel,
        min(occurred_at) as started_at,
        max(occurred_at) as ended_at,
        cast(count(*) as integer) as events,
        cast(count(*) filter (where kind = 'page') as integer) as pages,
        cast(count(*) filter (where kind = 'product') as integer) as products_seen,
        cast(count(*) filter (where kind = 'search') as integer) as searches,
        cast(count(*) filter (where kind = 'cart') as integer) as cart_additions,
        cast(count(*) filter (where kind = 'checkout') as integer) as checkouts,
        cast(count(*) filter (where kind = 'order') as integer) as orders,
        cast(sum(amount_cents) as bigint) as amount_cents,
        {{ latest('product_id', 'turn', is_unique=true) }} filter (
            where kind in ('product', 'cart') and product_id is not null
        ) as last_product_id,
        {{ latest('category', 'turn', is_unique=true) }} filter (
            where kind in ('product', 'cart') and category is not null
        ) as last_category,
        {{ latest('identifier_value', 'turn', is_unique=true) }} filter (
            where identifier_type = 'record'
        ) as signed_in_as,
        max(identifier_value) filter (where identifier_type = 'device') as device
    from numbered
    group by source, device_id, place
)

select
    sessions.source || '-' || sessions.first_event_id as session_id,
    coalesce(people.customer_id, owners.customer_id) as customer_id,
    sessions.source,
    sessions.device_id,
    sessions.channel,
    sessions.started_at,
    {{ local_day('sessions.started_at') }} as started_on,
    sessions.ended_at,
    {{ seconds_between('sessions.started_at', 'sessions.ended_at') }} as seconds,
    sessions.signed_in_as is not null as is_signed_in,
    sessions.events,
    sessions.pages,
    sessions.products_seen,
    sessions.searches,
    sessions.cart_additions,
    sessions.checkouts,
    sessions.orders,
    sessions.amount_cents,
    case
        when sessions.orders > 0 then 'bought'
        when sessions.checkouts > 0 then 'checkout'
        when sessions.cart_additions > 0 then 'cart'
        when sessions.products_seen + sessions.searches > 0 then 'browsed'
        else 'looked_in'
    end as outcome,
    sessions.last_product_id,
    sessions.last_category
from sessions
left join {{ ref('identify_customers') }} as people
    on people.identifier_type = 'record' and sessions.signed_in_as = people.identifier_value
left join {{ ref('identify_customers') }} as owners
    on owners.identifier_type = 'device' and sessions.device = owners.identifier_value
