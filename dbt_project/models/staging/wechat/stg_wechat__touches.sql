-- A day in the mini-program is one touch; groups and referrals are touches of their own.
select
    'record' as identifier_type,
    {{ record_id('wechat.followers', 'openid') }} as identifier_value,
    'wechat-day-' || openid || '-' || cast({{ local_day('occurred_at') }} as varchar) as touch_id,
    'visit' as kind,
    'mini_program' as channel,
    'inbound' as direction,
    cast(count(*) filter (where event = 'ViewProduct') as varchar) || ' products seen' as subject,
    min(occurred_at) as occurred_at
from {{ source_rows('wechat', 'events') }} as events
where type = 'track' and openid is not null
group by openid, {{ local_day('occurred_at') }}
union all
select
    'record' as identifier_type,
    {{ record_id('wechat.followers', 'openid') }} as identifier_value,
    'wechat-group-' || chat_id || '-' || openid as touch_id,
    'community' as kind,
    'wechat' as channel,
    'inbound' as direction,
    'joined a group' as subject,
    join_time as occurred_at
from {{ source_rows('wechat', 'group_members') }} as group_members
