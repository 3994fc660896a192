-- Who follows an account agrees to what it sends there, and takes that back by leaving it.
select
    {{ piece('openid') }} as piece,
    'record' as identifier_type,
    {{ record_id('wechat.followers', 'openid') }} as identifier_value,
    'follower-' || md5(openid) as consent_id,
    'marketing' as purpose,
    'wechat' as channel,
    coalesce(subscribe, false) as is_granted,
    'consent' as legal_basis,
    subscribe_scene as captured_in,
    subscribe_time as captured_at,
    case
        when not coalesce(subscribe, false) then coalesce(unsubscribe_time, subscribe_time)
    end as withdrawn_at
from {{ source_rows('wechat', 'followers', piece='openid') }} as followers
where subscribe_time is not null
