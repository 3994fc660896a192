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

{#- Whether any of a customer's sources is of ``stage``. -#}
{% macro is_known_by_stage(stage) -%}
    bool_or({{ is_source_of_stage('source', stage) }})
{%- endmacro %}

{#- Whether the source that ``column`` names is of ``stage``. -#}
{% macro is_source_of_stage(column, stage) -%}
    {%- set names = [] -%}
    {%- for name, of_stage in var('source_stages').items() if of_stage == stage -%}
        {%- do names.append("'" ~ name ~ "'") -%}
    {%- endfor -%}
    {{ column }} in ({{ names | join(', ') or "''" }})
{%- endmacro %}
