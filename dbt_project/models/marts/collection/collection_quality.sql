-- How the fields of each day's delivery came in; measured while raw was loaded.
select
    source,
    table_name,
    field,
    as_of,
    stage,
    personal,
    rows_seen,
    complete,
    accurate,
    timely,
    compliant,
    is_weak,
    complete_rule,
    accurate_rule,
    timely_rule,
    compliant_rule
from {{ source('meta', 'collection_quality') }}
where as_of <= {{ as_of() }}
