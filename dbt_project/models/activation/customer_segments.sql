-- Rules of config/audiences.yml and groups that were found, side by side.
select
    customer_id,
    {{ as_of() }} as as_of,
    'rule' as kind,
    segment,
    cast(null as integer) as segment_number,
    cast(null as varchar) as model_version
from {{ ref('segment_members') }}
union all
select
    customer_id,
    {{ as_of() }} as as_of,
    'persona' as kind,
    persona as segment,
    persona_number as segment_number,
    model_version
from {{ source('scores', 'customer_personas') }}
