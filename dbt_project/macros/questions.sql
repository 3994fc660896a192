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
