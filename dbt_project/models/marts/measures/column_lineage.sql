-- Typed and empty here: it is read from the compiled SQL of all models, right before publishing.
select
    cast(null as varchar) as table_name,
    cast(null as varchar) as column_name,
    cast(null as varchar) as source,
    cast(null as varchar) as source_table,
    cast(null as varchar) as source_column,
    cast(null as varchar) as through
where false
