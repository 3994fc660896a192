{#- The id of the customer who is known by `identifier` (kind:value) and by nothing stronger. -#}
{% macro customer_of(identifier) -%}
    'c' || substr(md5({{ identifier }}), 1, 16)
{%- endmacro %}
