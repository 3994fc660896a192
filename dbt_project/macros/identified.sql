{#- All rows of an entity with the customer that they are about; none where nobody is known. -#}
{% macro identified(entity) -%}
    (
        select
            facts.*,
            customers.customer_id
        from {{ rows_of('union_' ~ entity) }} as facts
        left join {{ ref('identify_customers') }} as customers
            on
                facts.identifier_type = customers.identifier_type
                and facts.identifier_value = customers.identifier_value
    )
{%- endmacro %}
