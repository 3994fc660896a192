-- Typed and empty here: the trend is filled in from the decision state right before publishing, because
-- the last audit comes after the last model.
select
    cast(null as varchar) as run_id,
    cast(null as date) as as_of,
    cast(null as timestamp) as checked_at,
    cast(null as varchar) as layer,
    cast(null as varchar) as table_name,
    cast(null as varchar) as check_name,
    cast(null as varchar) as severity,
    cast(null as boolean) as is_passed,
    cast(null as bigint) as observed
where false
