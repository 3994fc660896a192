-- How much of each delivery is in the warehouse, and came when it should; the shares were measured while
-- raw was loaded.
with delivered as (
    select
        source,
        table_name,
        as_of,
        max(rows_seen) as rows_seen,
        min(timely) as timely
    from {{ ref('collection_quality') }}
    group by source, table_name, as_of
),

refused as (
    select
        source,
        table_name,
        as_of,
        count(*) as rows_refused
    from {{ ref('quarantine') }}
    group by source, table_name, as_of
)

select
    delivered.source,
    delivered.table_name,
    delivered.as_of as day,
    cast(delivered.rows_seen as bigint) as rows_seen,
    cast(coalesce(refused.rows_refused, 0) as bigint) as rows_refused,
    -- Where nothing is promised, what is there is on time.
    cast(
        round(
            greatest(delivered.rows_seen - coalesce(refused.rows_refused, 0), 0)
            * coalesce(delivered.timely, 1)
        ) as bigint
    ) as rows_on_time
from delivered
left join refused
    on
        delivered.source = refused.source
        and delivered.table_name = refused.table_name
        and delivered.as_of = refused.as_of
