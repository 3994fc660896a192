-- What was refused and why, without the rows themselves: those stay in the restricted raw file.
select
    source,
    table_name,
    batch,
    as_of,
    file,
    position,
    rule,
    column_name,
    reason
from {{ source('meta', 'quarantine') }}
where as_of <= {{ as_of() }}
