{#-
  Tables that change only where they differ, and tell what changed.

  A model of the materialisation `incremental`, which is ours, is cut into pieces by the SQL `piece`; the rows of a piece
  depend only on the rows of that piece upstream. `fed_by` says, for each upstream that is read by
  `rows_of`, which piece a row of it belongs to. A full build and an increment run the same SQL; an
  increment runs it over the touched pieces. What differed stands in `changes.<model>`, the rows before
  (is_now false) and after, and touches the pieces of the models that follow.

  Without `fed_by` everything is computed and compared. The unions are fed by 'raw', the pieces that
  source_rows(..., piece=...) shows; their rows without a piece are compared wholly.

  Whoever reads identify_customers is touched where an identifier's customer moved as well.
-#}

{#- Whether this run starts from the tables of an earlier one. -#}
{% macro is_increment() -%}
    {{ return(execute and var('increment', none) is not none) }}
{%- endmacro %}

{#- A relation of this run's bookkeeping, in the file of the relation that it is about. -#}
{% macro changes_of(relation) -%}
    {{ return(api.Relation.create(database=relation.database, schema='changes', identifier=relation.identifier)) }}
{%- endmacro %}

{% macro touched_pieces(relation) -%}
    {{ return(api.Relation.create(database=relation.database, schema='changes', identifier='touched_' ~ relation.identifier)) }}
{%- endmacro %}

{#- The rows of an upstream of `fed_by`: all of them, on an increment those of touched pieces. -#}
{% macro rows_of(name) -%}
    {%- set upstream = ref(name) -%}
    {%- set fed_by = config.get('fed_by') or {} -%}
    {%- if not is_increment() or name not in fed_by -%}
        {{ upstream }}
    {%- else -%}
        (
            select *
            from {{ upstream }}
            where {{ fed_by[name] }} in (select piece from {{ touched_pieces(this) }})
        )
    {%- endif -%}
{%- endmacro %}

{#- A row's piece in staging, named by the column that source_rows(..., piece=...) was cut by. -#}
{% macro piece(column) -%}
    '{{ column.split(".")[-1] }}:' || coalesce(cast({{ column }} as varchar), '')
{%- endmacro %}

{#- SQL of the pieces that the changes of a model's upstreams touch. -#}
{% macro touching_sql(model, fed_by) -%}
    {%- set parts = [] -%}
    {%- for name, piece in fed_by.items() -%}
        {%- if name == 'raw' -%}
            {%- do parts.append("select piece from workspace.increment.pieces") -%}
        {%- else -%}
            {%- set upstream = ref_by_name(model, name) -%}
            {%- do parts.append("select " ~ piece ~ " as piece from " ~ changes_of(upstream)) -%}
            {%- if name.startswith('union_') and 'model.customer360.identify_customers' in model.depends_on.nodes -%}
                {%- set identified = changes_of(ref_by_name(model, 'identify_customers')) -%}
                {%- do parts.append(
                    "select " ~ piece ~ " as piece from " ~ upstream ~ " where (identifier_type, identifier_value)"
                    ~ " in (select (identifier_type, identifier_value) from " ~ identified ~ ")"
                ) -%}
            {%- endif -%}
        {%- endif -%}
    {%- endfor -%}
    select distinct piece from ({{ parts | join(' union all ') }}) as touching where piece is not null
{%- endmacro %}

{% macro ref_by_name(model, name) -%}
    {%- for unique_id in model.depends_on.nodes if unique_id.endswith('.' ~ name) -%}
        {%- set node = graph.nodes[unique_id] -%}
        {{ return(api.Relation.create(database=node.database, schema=node.schema, identifier=node.alias)) }}
    {%- endfor -%}
    {{ exceptions.raise_compiler_error("fed_by of " ~ model.name ~ " names '" ~ name ~ "', which it does not read") }}
{%- endmacro %}

{% materialization incremental, adapter='duckdb' %}
    {%- set target = this.incorporate(type='table') -%}
    {%- set changes = changes_of(target) -%}
    {%- if not is_increment() -%}
        {%- do fill_anew(target, sql) -%}
    {%- elif target.database ~ '.' ~ target.identifier in var('increment') -%}
        {#- An earlier attempt of this run has brought it up to date. -#}
        {%- call statement('main') -%} select 1 {%- endcall -%}
    {%- else -%}
        {%- do fill_differences(target, changes, sql) -%}
    {%- endif -%}
    {%- do adapter.commit() -%}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{#- `sql` in the order in which the model's rows are to lie (order_by): one customer's beside each other. -#}
{% macro ordered(sql) -%}
    {%- set order_by = config.get('order_by') -%}
    {{ return('select * from (' ~ sql ~ '\n) as unordered order by ' ~ order_by if order_by else sql) }}
{%- endmacro %}

{#- The table as `sql` says it, made anew under its contract, with its comments. -#}
{% macro fill_anew(target, sql) -%}
    {%- call statement('drop') -%} drop table if exists {{ target }} {%- endcall -%}
    {%- call statement('main') -%} {{ create_table_as(false, target, ordered(sql)) }} {%- endcall -%}
    {%- do persist_docs(target, model) -%}
{%- endmacro %}

{#-
  What a table is created with. Packed identifiers that hardly repeat are unpacked, a row group at a time, to find
  one customer, which takes ten times as long as comparing them as they are. Where many rows share each of them
  they pack well, and are found fast: only tables of a few rows a customer say `uncompressed`.
-#}
{% macro duckdb__get_table_columns_and_constraints() -%}
    {%- set parts = [] -%}
    {%- for column in adapter.render_raw_columns_constraints(raw_columns=model['columns']) -%}
        {%- set is_plain = column.split(' ') | first == config.get('uncompressed') -%}
        {%- do parts.append(column ~ (' using compression uncompressed' if is_plain else '')) -%}
    {%- endfor -%}
    {%- do parts.extend(adapter.render_raw_model_constraints(raw_constraints=model['constraints'])) -%}
    ({{ parts | join(', ') }})
{%- endmacro %}

{#- The columns of a table that is there, quoted; a contract and an entity say them without asking the database. -#}
{% macro columns_of(relation) -%}
    {%- set names = [] -%}
    {%- if relation.identifier.startswith('union_') -%}
        {%- set entity = entity_columns(relation.identifier.removeprefix('union_')) -%}
        {%- for name in ['source'] + entity.keys() | list + ['piece'] -%}
            {%- do names.append(adapter.quote(name)) -%}
        {%- endfor -%}
    {%- elif model.config.contract.enforced -%}
        {%- for name in model.columns -%} {%- do names.append(adapter.quote(name)) -%} {%- endfor -%}
    {%- else -%}
        {%- for column in adapter.get_columns_in_relation(relation) -%}
            {%- do names.append(adapter.quote(column.name)) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(names | join(', ')) }}
{%- endmacro %}

{#- Delete and insert the rows by which `sql` and the table differ. -#}
{% macro fill_differences(target, changes, sql) -%}
    {%- set is_union = target.identifier.startswith('union_') -%}
    {%- set fed_by = {'raw': 'piece'} if is_union else config.get('fed_by') -%}
    {%- set piece = 'piece' if is_union else config.get('piece') -%}
    {%- set order_by = config.get('order_by') -%}
    {%- set fresh = api.Relation.create(database=changes.database, schema='changes', identifier='new_' ~ target.identifier) -%}
    {%- set touched = touched_pieces(target) -%}
    {%- set columns = columns_of(target) -%}
    {%- set content = 'hash(' ~ columns ~ ')' -%}
    {%- set domain = 'true' -%}
    {%- if fed_by -%}
        {%- set domain = '(' ~ piece ~ ' is null or ' ~ piece ~ ' in (select piece from ' ~ touched ~ '))' -%}
    {%- endif -%}
    {#- One call: what dbt does around a statement costs more than most of these. -#}
    {%- call statement('main') -%}
        {%- if fed_by %}
        create or replace table {{ touched }} as {{ touching_sql(model, fed_by) }};
        {%- endif %}
        create or replace table {{ fresh }} as select {{ columns }} from ({{ sql }}
        ) as computed;
        create or replace table {{ changes }} as
        with before as (
            select {{ content }} as content, count(*) as copies from {{ target }} where {{ domain }} group by all
        ),
        after as (
            select {{ content }} as content, count(*) as copies from {{ fresh }} group by all
        ),
        differing as (
            select content from before full join after using (content)
            where before.copies is distinct from after.copies
        )
        select false as is_now, {{ columns }} from {{ target }}
        where {{ domain }} and {{ content }} in (select content from differing)
        union all
        select true as is_now, {{ columns }} from {{ fresh }}
        where {{ content }} in (select content from differing);
        delete from {{ target }}
        where {{ domain }} and {{ content }} in (select {{ content }} from {{ changes }} where not is_now);
        insert into {{ target }} ({{ columns }})
        select {{ columns }} from {{ changes }} where is_now {{ 'order by ' ~ order_by if order_by }};
        drop table {{ fresh }}
    {%- endcall -%}
{%- endmacro %}

{#-
  A table that is computed wholly: made once with its contract and comments, then filled again. (dbt-duckdb's
  own makes a second table and renames three times, which costs more than the rows of most.)
-#}
{% materialization table, adapter='duckdb' %}
    {%- set target = this.incorporate(type='table') -%}
    {%- if is_increment() and load_cached_relation(this) -%}
        {%- call statement('main') -%}
            delete from {{ target }};
            insert into {{ target }} by name {{ ordered(sql) }}
        {%- endcall -%}
    {%- else -%}
        {%- do fill_anew(target, sql) -%}
    {%- endif -%}
    {%- do run_hooks(post_hooks) -%}
    {%- do adapter.commit() -%}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{% materialization view, adapter='duckdb' %}
    {%- set target = this.incorporate(type='view') -%}
    {%- call statement('main') -%} create or replace view {{ target }} as ({{ sql }}
    ) {%- endcall -%}
    {%- do adapter.commit() -%}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}
