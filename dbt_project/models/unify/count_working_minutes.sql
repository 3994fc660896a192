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
            {%- for weekday, hours in var('working_hours').items() %}
            when
                {{ iso_weekday(adapter.quote('day')) }} = {{ weekday }}
                {%- if weekday | int == 1 %} or {{ adapter.quote('day') }} in ({{ dates(var('extra_days')) }}){% endif %}
                then {{ hours[0] }}
            {%- endfor %}
        end as opens,
        case
            when {{ adapter.quote('day') }} in ({{ dates(var('holidays')) }}) then null
            {%- for weekday, hours in var('working_hours').items() %}
            when
                {{ iso_weekday(adapter.quote('day')) }} = {{ weekday }}
                {%- if weekday | int == 1 %} or {{ adapter.quote('day') }} in ({{ dates(var('extra_days')) }}){% endif %}
                then {{ hours[1] }}
            {%- endfor %}
        end as closes
    from days
),

moments as (
    select
        on_day,
        {{ clock_time('on_day', 'opens') }} as opens_at,
        {{ clock_time('on_day', 'closes') }} as closes_at
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
