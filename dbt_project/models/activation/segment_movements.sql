-- From the last published snapshot of an earlier day to now. A customer that was merged since counts as
-- its successor. A rule's segment is entered or left; persona and tier are changed.
with present as (
    select
        customer_id,
        kind,
        segment
    from {{ ref('customer_segments') }}
    union all
    select
        customer_id,
        'value_tier' as kind,
        value_tier as segment
    from {{ ref('customer_value') }}
),

past as (
    select
        coalesce(successors.new_id, earlier.customer_id) as customer_id,
        earlier.kind,
        min(earlier.segment) as segment,
        min(earlier.as_of) as as_of
    from {{ source('scores', 'last_segments') }} as earlier
    left join {{ ref('customer_id_map') }} as successors on earlier.customer_id = successors.old_id
    group by
        coalesce(successors.new_id, earlier.customer_id),
        earlier.kind,
        case when earlier.kind = 'rule' then earlier.segment end
),

paired as (
    select
        coalesce(present.kind, past.kind) as kind,
        coalesce(past.segment, 'none') as from_segment,
        coalesce(present.segment, 'none') as to_segment
    from past
    full outer join present
        on
            past.customer_id = present.customer_id
            and past.kind = present.kind
            -- Comparisons alone: with an "or" DuckDB would compare every row with every row.
            and coalesce(case when past.kind = 'rule' then past.segment end, '')
            = coalesce(case when present.kind = 'rule' then present.segment end, '')
)

select
    kind,
    from_segment,
    to_segment,
    (select min(past.as_of) from past) as since_on,
    {{ as_of() }} as as_of,
    cast(count(*) as bigint) as customers
from paired
where (select count(*) from past) > 0
group by kind, from_segment, to_segment
