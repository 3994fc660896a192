{#- What engines say differently about moments and documents. -#}

{#- Whole minutes from one moment to a later one. -#}
{% macro minutes_between(earlier, later) -%}
    {{ return(adapter.dispatch('minutes_between')(earlier, later)) }}
{%- endmacro %}
{% macro default__minutes_between(earlier, later) -%}
    cast(floor((epoch({{ later }}) - epoch({{ earlier }})) / 60) as integer)
{%- endmacro %}
{% macro spark__minutes_between(earlier, later) -%}
    cast(floor((unix_timestamp({{ later }}) - unix_timestamp({{ earlier }})) / 60) as int)
{%- endmacro %}

{#- Whole seconds from one moment to a later one. -#}
{% macro seconds_between(earlier, later) -%}
    {{ return(adapter.dispatch('seconds_between')(earlier, later)) }}
{%- endmacro %}
{% macro default__seconds_between(earlier, later) -%}
    cast(floor(epoch({{ later }}) - epoch({{ earlier }})) as bigint)
{%- endmacro %}
{% macro spark__seconds_between(earlier, later) -%}
    (unix_timestamp({{ later }}) - unix_timestamp({{ earlier }}))
{%- endmacro %}

{#- A moment some minutes later (a number of the declaration, not a column). -#}
{% macro add_minutes(moment, minutes) -%}
    ({{ moment }} + interval '{{ minutes }}' minute)
{%- endmacro %}

{#- A value of a JSON document as text; null where it is not there. -#}
{% macro json_text(document, path) -%}
    {{ return(adapter.dispatch('json_text')(document, path)) }}
{%- endmacro %}
{% macro default__json_text(document, path) -%}
    json_extract_string({{ document }}, '{{ path }}')
{%- endmacro %}
{% macro spark__json_text(document, path) -%}
    get_json_object({{ document }}, '{{ path }}')
{%- endmacro %}

{#- A row for each day from one to another, in column day. -#}
{% macro days_from(first, last) -%}
    {{ return(adapter.dispatch('days_from')(first, last)) }}
{%- endmacro %}
{% macro default__days_from(first, last) -%}
    select cast(unnest(generate_series({{ first }}, {{ last }}, interval 1 day)) as date) as {{ adapter.quote('day') }}
{%- endmacro %}
{% macro spark__days_from(first, last) -%}
    select explode(sequence({{ first }}, {{ last }}, interval 1 day)) as {{ adapter.quote('day') }}
{%- endmacro %}

{#- The moment in UTC so many minutes after a company's midnight, by the clock on the wall. -#}
{% macro clock_time(day, minutes) -%}
    {{ return(adapter.dispatch('clock_time')(day, minutes)) }}
{%- endmacro %}
{% macro default__clock_time(day, minutes) -%}
    timezone('UTC', timezone('{{ var("time_zone") }}', cast({{ day }} as timestamp) + to_minutes({{ minutes }})))
{%- endmacro %}
{% macro spark__clock_time(day, minutes) -%}
    to_utc_timestamp(
        cast({{ day }} as timestamp) + make_dt_interval(0, 0, {{ minutes }}), '{{ var("time_zone") }}'
    )
{%- endmacro %}

{#-
  The value of one column in the row where another one is greatest (least). Rows that are as great are
  told apart by the value itself, so that a rerun gives the same; with ``is_unique`` there are none,
  which is five times as fast.
-#}
{% macro latest(value, moment, is_unique=false) -%}
    max_by({{ value }}, {{ moment if is_unique else both_of(moment, value) }})
{%- endmacro %}
{% macro earliest(value, moment, is_unique=false) -%}
    min_by({{ value }}, {{ moment if is_unique else both_of(moment, value) }})
{%- endmacro %}

{% macro both_of(first, second) -%}
    {{ return(adapter.dispatch('both_of')(first, second)) }}
{%- endmacro %}
{% macro default__both_of(first, second) -%}
    row({{ first }}, {{ second }})
{%- endmacro %}
{% macro spark__both_of(first, second) -%}
    struct({{ first }}, {{ second }})
{%- endmacro %}

{#- The end of the as-of day, a moment in UTC: what is later is not known to this run. -#}
{% macro cutoff() -%}
    timestamp '{{ var("cutoff") }}'
{%- endmacro %}

{#- Declared words as a list that is never empty. -#}
{% macro texts(words) -%}
    {%- for word in words or [''] -%}
        '{{ word | replace("'", "''") }}'{{ ", " if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
