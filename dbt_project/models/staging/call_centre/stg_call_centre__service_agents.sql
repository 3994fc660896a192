select
    cast(agent_id as varchar) as agent_id,
    team,
    skill,
    is_active,
    hired_on
from {{ source_rows('call_centre', 'agents') }} as agents
