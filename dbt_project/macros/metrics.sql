{#-
  The SQL of measures, from their definitions (metrics.yml). dbt renders it for `kpi_scorecard`;
  `customer360.metrics` renders the same text through Jinja alone, over a published snapshot.

  definitions  {rows: ..., measures: ...}, as metrics.yml has them
  names        which measures
  dimensions   by what they are broken down beside the month, each known to all their rows
  Result       measure, month, the dimensions, numerator, denominator
-#}
{% macro metric_sums(definitions, names, dimensions=[]) -%}
{#- Each table is read once, however many measures count its rows. -#}
{%- set taken = {} -%}
{%- for name in names -%}
    {%- for side in ('numerator', 'denominator') if definitions.measures[name][side] is defined -%}
        {%- set part = definitions.measures[name][side] -%}
        {%- do taken.setdefault(part.of, []).append({'measure': name, 'side': side, 'part': part}) -%}
    {%- endfor -%}
{%- endfor -%}
with
{%- for rows_name, parts in taken.items() %}
{%- set rows = definitions.rows[rows_name] %}
of_{{ rows_name }} as (
    select
        {{ metric_month(rows) }} as metric_month,
        {%- for dimension in dimensions %}
        cast({{ rows.by[dimension] }} as varchar) as {{ adapter.quote(dimension) }},
        {%- endfor %}
        {%- for entry in parts %}
        sum({{ metric_addend(entry.part) }}) as {{ entry.measure }}_{{ entry.side }}{{ "," if not loop.last }}
        {%- endfor %}
    from {{ ref(rows.table) }}
    group by
        {{ metric_month(rows) }}{{ "," if dimensions }}
        {%- for dimension in dimensions %}
        cast({{ rows.by[dimension] }} as varchar){{ "," if not loop.last }}
        {%- endfor %}
),
{%- endfor %}

metric_parts as (
    {%- for rows_name, parts in taken.items() %}
    {%- set last = loop.last %}
    {%- for entry in parts %}
    select
        '{{ entry.measure }}' as measure,
        metric_month,
        {%- for dimension in dimensions %}
        {{ adapter.quote(dimension) }},
        {%- endfor %}
        cast({{ entry.measure ~ '_numerator' if entry.side == 'numerator' else 'null' }} as double) as numerator,
        cast({{ entry.measure ~ '_denominator' if entry.side == 'denominator' else 'null' }} as double)
            as denominator
    from of_{{ rows_name }}
    where metric_month is not null
    {%- if not (last and loop.last) %}
    union all
    {%- endif %}
    {%- endfor %}
    {%- endfor %}
    {%- if not taken %}
    select
        cast(null as varchar) as measure,
        cast(null as date) as metric_month,
        cast(null as double) as numerator,
        cast(null as double) as denominator
    where false
    {%- endif %}
)

select
    measure,
    metric_month as month,
    {%- for dimension in dimensions %}
    {{ adapter.quote(dimension) }},
    {%- endfor %}
    sum(numerator) as numerator,
    sum(denominator) as denominator
from metric_parts
group by
    measure,
    metric_month{{ "," if dimensions }}
    {%- for dimension in dimensions %}
    {{ adapter.quote(dimension) }}{{ "," if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{#- The first day of the month that a row falls into. -#}
{% macro metric_month(rows) -%}
    {%- if rows.month is defined -%} {{ rows.month }}
    {%- else -%} {{ first_of_month(rows.day) }}
    {%- endif -%}
{%- endmacro %}

{#- What a row adds to a numerator or denominator. -#}
{% macro metric_addend(part) -%}
    {%- if part.count is defined -%}
        case when {{ 'true' if part.count is sameas true else part.count }} then 1 else 0 end
    {%- elif part.where is defined -%} case when {{ part.where }} then {{ part.sum }} end
    {%- else -%} {{ part.sum }}
    {%- endif -%}
{%- endmacro %}

{#- A measure without a denominator is its numerator, and nothing counted is 0; a share of nothing is null. -#}
{% macro metric_value(has_denominator, numerator, denominator) -%}
    case
        when {{ has_denominator }} then coalesce({{ numerator }}, 0) / nullif({{ denominator }}, 0)
        else coalesce({{ numerator }}, 0)
    end
{%- endmacro %}

{#- The name of a tier by its rank; the lowest is 1. -#}
{% macro tier_name(rank) -%}
    case {{ rank }}
        {%- for tier in var('value_tiers') %}
        when {{ loop.length - loop.index0 }} then '{{ tier.name }}'
        {%- endfor %}
    end
{%- endmacro %}
