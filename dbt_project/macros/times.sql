{#- The company's calendar day of a moment in UTC. -#}
{% macro local_day(moment) -%}
    {{ return(adapter.dispatch('local_day')(moment)) }}
{%- endmacro %}

{% macro default__local_day(moment) -%}
    cast(timezone('{{ var("time_zone") }}', timezone('UTC', {{ moment }})) as date)
{%- endmacro %}

{% macro spark__local_day(moment) -%}
    cast(from_utc_timestamp({{ moment }}, '{{ var("time_zone") }}') as date)
{%- endmacro %}

{#- The moment in UTC at which a company's calendar day begins. -#}
{% macro day_start(day) -%}
    {{ return(adapter.dispatch('day_start')(day)) }}
{%- endmacro %}

{% macro default__day_start(day) -%}
    timezone('UTC', timezone('{{ var("time_zone") }}', cast({{ day }} as timestamp)))
{%- endmacro %}

{% macro spark__day_start(day) -%}
    to_utc_timestamp(cast({{ day }} as timestamp), '{{ var("time_zone") }}')
{%- endmacro %}

{#- The as-of day of this run. -#}
{% macro as_of() -%}
    date '{{ var("as_of") }}'
{%- endmacro %}

{#- Its year. -#}
{% macro as_of_year() -%}
    {{ var("as_of")[:4] }}
{%- endmacro %}

{#- The first day of a day's month. -#}
{% macro first_of_month(day) -%}
    cast(date_trunc('month', {{ day }}) as date)
{%- endmacro %}

{#- Every first day of a month from ``first`` to ``last``, which are such days; column month. -#}
{% macro months_from(first, last) -%}
    {{ return(adapter.dispatch('months_from')(first, last)) }}
{%- endmacro %}

{% macro default__months_from(first, last) -%}
    select cast(unnest(generate_series({{ first }}, {{ last }}, interval 1 month)) as date) as month
{%- endmacro %}

{% macro spark__months_from(first, last) -%}
    select explode(sequence({{ first }}, {{ last }}, interval 1 month)) as month
{%- endmacro %}

{#- A first day of a month, so many months later. -#}
{% macro add_months(month, months) -%}
    {{ return(adapter.dispatch('add_months')(month, months)) }}
{%- endmacro %}

{% macro default__add_months(month, months) -%}
    cast({{ month }} + interval {{ months }} month as date)
{%- endmacro %}

{% macro spark__add_months(month, months) -%}
    add_months({{ month }}, {{ months }})
{%- endmacro %}

{#- The last day of a month. -#}
{% macro last_of_month(month) -%}
    last_day({{ month }})
{%- endmacro %}

{#- Declared days (ISO) as a list of dates that is never empty. -#}
{% macro dates(days) -%}
    {%- for day in days or ['0001-01-01'] -%}
        date '{{ day }}'{{ ", " if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{#-
  The working minutes from the first day of the calendar to a moment; ``day`` is the row of
  count_working_minutes for the moment's calendar day.
-#}
{% macro working_minutes_until(moment, day) -%}
    (
        {{ day }}.minutes_before
        + coalesce(least(greatest({{ minutes_between(day ~ '.opens_at', moment) }}, 0), {{ day }}.minutes), 0)
    )
{%- endmacro %}
