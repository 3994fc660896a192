-- What followers say of themselves, what the mini-program and groups see of them, and the order of the
-- shop that a payment in it is: a product of it, the value of its goods or of all, within ten minutes,
-- each the only one of the other. So are two apps' followers of one nickname in one town who came within
-- two months.
with events as (
    select
        openid,
        unionid,
        occurred_at,
        case when type = 'profile_set' then {{ json_text('properties', '$.member_no') }} end as member_no
    from {{ source_rows('wechat', 'events', piece='openid') }} as recorded
    where openid is not null
),

payments as (
    select
        track_id,
        openid,
        occurred_at,
        {{ json_text('properties', '$.sku') }} as sku,
        cast(round(100 * try_cast({{ json_text('properties', '$.order_amount') }} as double)) as bigint)
            as amount_fen
    from {{ source_rows('wechat', 'events') }} as recorded
    where event = 'PayOrder' and openid is not null
),

seen as (
    select
        openid,
        unionid,
        member_no,
        min(occurred_at) as first_seen_at,
        max(occurred_at) as last_seen_at
    from events
    group by openid, unionid, member_no
),

placed as (
    select distinct
        app_id,
        openid,
        unionid,
        subscribe_time,
        {{ placed_nickname('nickname', 'city') }} as nickname
    from {{ source_rows('wechat', 'followers') }} as followers
    where nickname is not null and city is not null
),

met as (
    select
        first_app.app_id,
        first_app.openid,
        first_app.nickname,
        first_app.subscribe_time,
        other.app_id as other_app_id,
        other.openid as other_openid,
        other.subscribe_time as other_subscribe_time
    from placed as first_app
    inner join placed as other
        on
            first_app.nickname = other.nickname
            and first_app.app_id < other.app_id
            and first_app.subscribe_time between other.subscribe_time - interval 60 day
            and other.subscribe_time + interval 60 day
            and coalesce(first_app.unionid = other.unionid, true)
    qualify
        count(*) over (partition by first_app.openid, other.app_id) = 1
        and count(*) over (partition by other.openid, first_app.app_id) = 1
)
{%- if 'shop' in var('company_sources', ['shop']) %},

bought as (
    select distinct
        orders.order_no,
        orders.ordered_at,
        orders.paid_fen,
        orders.goods_fen,
        lines.sku
    from {{ source_rows('shop', 'orders') }} as orders
    inner join {{ source_rows('shop', 'order_lines') }} as lines on orders.order_no = lines.order_no
    where orders.channel = 'mini_program'
),

paid as (
    select
        payments.openid,
        orders.order_no,
        orders.ordered_at
    from payments
    inner join bought as orders
        on
            payments.sku = orders.sku
            and payments.amount_fen in (orders.paid_fen, orders.goods_fen)
            and payments.occurred_at between orders.ordered_at - interval 10 minute
            and orders.ordered_at + interval 10 minute
    qualify
        count(distinct orders.order_no) over (partition by payments.track_id) = 1
        and count(distinct payments.track_id) over (partition by orders.order_no) = 1
)
{%- endif %}

{{ identifiers_of(
    source_rows('wechat', 'followers'),
    record_id('wechat.followers', 'openid'),
    [
        ['openid', 'openid', 'true'],
        ['unionid', 'unionid', 'true'],
        ['member_no', 'bound_member_no', 'true'],
        ['phone', real_phone('bound_mobile'), 'true'],
    ],
    'subscribe_time',
    'coalesce(unsubscribe_time, subscribe_time)'
) }}
union all
select
    cast(null as varchar) as piece,
    {{ record_id('wechat.followers', 'openid') }} as record_id,
    'nickname:' || app_id as kind,
    unnest([nickname, {{ placed_nickname('nickname', 'city') }}]) as value_normalised,
    false as is_verified,
    subscribe_time as first_seen_at,
    coalesce(unsubscribe_time, subscribe_time) as last_seen_at
from {{ source_rows('wechat', 'followers') }} as followers
union all
select
    cast(null as varchar) as piece,
    {{ record_id('wechat.followers', 'unnest([openid, other_openid])') }} as record_id,
    'nickname:' || unnest([app_id, other_app_id]) as kind,
    nickname || '@' || openid as value_normalised,
    false as is_verified,
    unnest([subscribe_time, other_subscribe_time]) as first_seen_at,
    unnest([subscribe_time, other_subscribe_time]) as last_seen_at
from met
union all
{{ identifiers_of(
    source_rows('wechat', 'group_members'),
    record_id('wechat.followers', 'openid'),
    [
        ['unionid', 'unionid', 'true'],
    ],
    'join_time',
    'coalesce(quit_time, join_time)'
) }}
union all
{{ identifiers_of(
    "seen",
    record_id('wechat.followers', 'openid'),
    [
        ['unionid', 'unionid', 'true'],
        ['member_no', 'member_no', 'true'],
    ],
    'first_seen_at',
    'last_seen_at',
    cut_by='openid'
) }}
{% if 'shop' in var('company_sources', ['shop']) -%}
union all
{{ identifiers_of(
    "paid",
    record_id('wechat.followers', 'openid'),
    [
        ['order_no', 'order_no', 'false'],
    ],
    'ordered_at',
    'ordered_at'
) }}
{%- endif %}
