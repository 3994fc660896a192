{#-
  The rows of a source table as they stood at the end of the as-of day: the last version of each
  key before the cutoff, unless that version is a deletion.
-#}
{% macro source_rows(source_name, table_name) -%}
    {%- set key = var('source_keys')[source_name][table_name] -%}
    (
        select *
        from {{ source(source_name, table_name) }}
        where _version_at < timestamp '{{ var("cutoff") }}'
        qualify
            row_number() over (
                partition by {{ key | join(', ') }}
                order by _version_at desc, _as_of desc, _row_hash desc
            ) = 1
            and not _is_deleted
    )
{%- endmacro %}
