with members as (
    select
        source,
        community_id,
        cast(count(*) as integer) as joined,
        cast(count(*) filter (where left_at is null) as integer) as members
    from {{ ref('union_community_memberships') }}
    group by source, community_id
)

select
    communities.source || '-' || communities.community_id as community_key,
    communities.community_id,
    communities.source,
    communities.kind,
    communities.name,
    communities.store_id,
    communities.owner_id,
    communities.opened_at,
    coalesce(members.joined, 0) as joined,
    coalesce(members.members, 0) as members
from {{ ref('union_communities') }} as communities
left join members on communities.source = members.source and communities.community_id = members.community_id
