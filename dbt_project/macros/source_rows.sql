{#-
  The rows of a source table as they stood at the end of the as-of day: the last version of each
  key before the cutoff, unless that version is a deletion.
-#}
{% macro source_rows(source_name, table_name) -%}
    {#- Linters compile without keys, and models of another company's sources are parsed too. -#}
    {%- set key = [] -%}
    {%- for column in var('source_keys').get(source_name, {}).get(table_name, []) -%}
        {%- do key.append(adapter.quote(column)) -%}
    {%- endfor -%}
    (
        select *
        from {{ source(source_name, table_name) }}
        where _version_at < timestamp '{{ var("cutoff") }}'
        qualify
            row_number() over (
                partition by {{ key | join(', ') or '_row_hash' }}
                order by _version_at desc, _as_of desc, _row_hash desc
            ) = 1
            and not _is_deleted
    )
{%- endmacro %}
