select
    chat_id as community_id,
    'group' as kind,
    name,
    store_code as store_id,
    owner_userid as owner_id,
    create_time as opened_at
from {{ source_rows('wechat', 'groups') }} as customer_groups
union all
select
    app_id as community_id,
    'account' as kind,
    cast(null as varchar) as name,
    cast(null as varchar) as store_id,
    cast(null as varchar) as owner_id,
    min(subscribe_time) as opened_at
from {{ source_rows('wechat', 'followers') }} as followers
group by app_id
