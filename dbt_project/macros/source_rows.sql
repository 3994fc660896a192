{#-
  The rows of a source table as they stood at the end of the as-of day: the last version of each
  key before the cutoff, unless that version is a deletion.

  With `piece`, a column of the table, an increment shows only the rows of pieces that changed since
  the last build; whatever the model computes must depend on rows of one piece alone.
-#}
{% macro source_rows(source_name, table_name, piece=none) -%}
    {#- Linters compile without keys, and models of another company's sources are parsed too. -#}
    {%- set key = [] -%}
    {%- for column in var('source_keys').get(source_name, {}).get(table_name, []) -%}
        {%- do key.append(adapter.quote(column)) -%}
    {%- endfor -%}
    {%- set rows = source(source_name, table_name) -%}
    {%- if piece and is_increment() -%}
        {%- set touched -%}
            coalesce(cast({{ adapter.quote(piece) }} as varchar), '') in (
                select value from workspace.increment.pieces
                where source = '{{ source_name }}' and column_name = '{{ piece }}'
            )
        {%- endset -%}
    {%- endif -%}
    (
        select *
        from {{ rows }}
        where
            {%- if is_increment() %}
            -- Not as text: the view is the same each night, and is not made again.
            _version_at < (
                select cast(value as timestamp) from workspace.increment.state where name = 'cutoff'
            )
            {%- else %}
            _version_at < timestamp '{{ var("cutoff") }}'
            {%- endif %}
            {%- if touched %}
            -- A key may have been of another piece before: its versions are judged together.
            and ({{ key | join(', ') }}) in (select ({{ key | join(', ') }}) from {{ rows }} where {{ touched }})
            {%- endif %}
        qualify
            row_number() over (
                partition by {{ key | join(', ') or '_row_hash' }}
                order by _version_at desc, _as_of desc, _row_hash desc
            ) = 1
            and not _is_deleted
            {%- if touched %}
            and {{ touched }}
            {%- endif %}
    )
{%- endmacro %}
