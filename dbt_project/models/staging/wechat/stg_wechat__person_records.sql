select
    {{ record_id('wechat.followers', 'openid') }} as record_id,
    'person' as entity,
    case sex when 1 then 'M' when 2 then 'F' end as sex,
    province,
    city,
    subscribe_time as created_at,
    coalesce(unsubscribe_time, subscribe_time) as updated_at
from {{ source_rows('wechat', 'followers') }} as followers
