{{ config(materialized='table') }}

-- A day of the service calendar (policies.yml, service.calendar): when it opens and closes, and how
-- many working minutes lie before it. The working minutes between two moments are a difference.
with days as (
    {{ days_from("date '2000-01-01'", "date '" ~ (as_of_year() | int + 2) ~ "-12-31'") }}
),

hours as (
    select
        {{ adapter.quote('day') }} as on_day,
        case
            when {{ adapter.quote('day') }} in ({{ dates(var('holidays')) }}) then null
            when {{ adapter.quote('day') }} in ({{ dates(var('extra_days')) }}) then 1
            else {{ iso_weekday(adapter.quote('day')) }}
        end as weekday
    from days
),

moments as (
    select
        on_day,
        case weekday
            when 0 then cast(null as timestamp)
            {%- for weekday, hours in var('working_hours').items() %}
            when {{ weekday }} then {{ clock_time('on_day', hours[0]) }}
            {%- endfor %}
        end as opens_at,
        case weekday
            when 0 then cast(null as timestamp)
            {%- for weekday, hours in var('working_hours').items() %}
            when {{ weekday }} then {{ clock_time('on_day', hours[1]) }}
            {%- endfor %}
        end as closes_at
    from hours
),

lengths as (
    select
        *,
        coalesce({{ minutes_between('opens_at', 'closes_at') }}, 0) as minutes
    from moments
)

select
    on_day,
    opens_at,
    minutes,
    cast(sum(minutes) over (order by on_day rows unbounded preceding) - minutes as bigint) as minutes_before
from lengths
