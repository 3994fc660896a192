select
    source || '-' || agent_id as agent_key,
    agent_id,
    source,
    team,
    skill,
    coalesce(is_active, false) as is_active,
    hired_on
from {{ ref('union_service_agents') }}
