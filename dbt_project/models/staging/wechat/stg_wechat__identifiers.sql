-- What followers say of themselves, what the mini-program sees of them, and the order of the shop that
-- a payment in it is: the same amount within ten minutes, each the only one of the other.
with events as (
    select
        track_id,
        event,
        openid,
        unionid,
        occurred_at,
        case when type = 'profile_set' then {{ json_text('properties', '$.member_no') }} end as member_no,
        cast(round(100 * try_cast({{ json_text('properties', '$.order_amount') }} as double)) as bigint)
            as amount_fen
    from {{ source_rows('wechat', 'events') }} as recorded
    where openid is not null
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

paid as (
    select
        events.openid,
        orders.order_no,
        orders.ordered_at
    from events
    inner join {{ source_rows('shop', 'orders') }} as orders
        on
            events.amount_fen = orders.paid_fen
            and events.occurred_at between orders.ordered_at - interval 10 minute
            and orders.ordered_at + interval 10 minute
    where events.event = 'PayOrder' and orders.channel = 'mini_program'
    qualify
        count(distinct orders.order_no) over (partition by events.track_id) = 1
        and count(distinct events.track_id) over (partition by orders.order_no) = 1
)

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
{{ identifiers_of(
    "seen",
    record_id('wechat.followers', 'openid'),
    [
        ['unionid', 'unionid', 'true'],
        ['member_no', 'member_no', 'true'],
    ],
    'first_seen_at',
    'last_seen_at'
) }}
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
