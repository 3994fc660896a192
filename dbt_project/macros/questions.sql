{#- ``part`` (field, because) of the first question whose column of customers is empty. -#}
{% macro first_question(part) -%}
    case
        {%- for question in var('ask') %}
        when nullif(trim(cast({{ adapter.quote(question.field) }} as varchar)), '') is null
            then '{{ question[part] | replace("'", "''") }}'
        {%- endfor %}
        when false then cast(null as varchar)
    end
{%- endmacro %}

{#- Whether any source of a collection stage (basic, behavioural, active) knows a customer. -#}
{% macro is_known_in_stage(stage) -%}
    {%- set sources = [] -%}
    {%- for source, of_stage in var('source_stages').items() if of_stage == stage -%}
        {%- do sources.append("'" ~ source ~ "'") -%}
    {%- endfor -%}
    bool_or(source in ({{ sources | join(', ') or 'null' }}))
{%- endmacro %}
