select
    members.source || '-' || members.membership_id as membership_key,
    members.customer_id,
    members.source,
    members.community_id,
    communities.kind,
    communities.store_id,
    members.joined_by,
    members.joined_at,
    {{ local_day('members.joined_at') }} as joined_on,
    members.left_at,
    members.left_at is null as is_member
from {{ identified('community_memberships') }} as members
left join {{ ref('union_communities') }} as communities
    on members.source = communities.source and members.community_id = communities.community_id
