-- Members of groups, and followers of an account or users of a mini-program. Who is in a group and
-- follows nothing is known by the id over all apps.
select
    case when followers.openid is not null then 'record' when members.unionid is not null then 'unionid' end
        as identifier_type,
    case
        when followers.openid is not null then {{ record_id('wechat.followers', 'members.openid') }}
        else members.unionid
    end as identifier_value,
    md5('group:' || members.chat_id || ':' || members.openid) as membership_id,
    members.chat_id as community_id,
    members.join_scene as joined_by,
    members.join_time as joined_at,
    members.quit_time as left_at
from {{ source_rows('wechat', 'group_members') }} as members
left join {{ source_rows('wechat', 'followers') }} as followers on members.openid = followers.openid
union all
select
    'record' as identifier_type,
    {{ record_id('wechat.followers', 'openid') }} as identifier_value,
    md5('account:' || app_id || ':' || openid) as membership_id,
    app_id as community_id,
    subscribe_scene as joined_by,
    subscribe_time as joined_at,
    case when not subscribe then unsubscribe_time end as left_at
from {{ source_rows('wechat', 'followers') }} as followers
