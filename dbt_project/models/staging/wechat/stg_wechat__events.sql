-- A person in the mini-program is known by the id of WeChat there.
select
    {{ piece('openid') }} as piece,
    case when openid is not null then 'record' end as identifier_type,
    {{ record_id('wechat.followers', 'openid') }} as identifier_value,
    cast(track_id as varchar) as event_id,
    md5('wechat:' || coalesce(openid, distinct_id, cast(track_id as varchar))) as device_id,
    'mini_program' as channel,
    case
        when type <> 'track' then 'sign_in'
        when event in ('$MPLaunch', '$MPViewScreen') then 'page'
        when event = 'ViewProduct' then 'product'
        when event = 'AddToCart' then 'cart'
        when event = 'SubmitCheckout' then 'checkout'
        when event = 'PayOrder' then 'order'
        when event = 'Search' then 'search'
        else 'other'
    end as kind,
    coalesce(event, type) as name,
    {{ json_text('properties', '$.sku') }} as product_id,
    {{ json_text('properties', '$.category') }} as category,
    case
        when event = 'PayOrder'
            then
                {{ minor_units("cast(" ~ json_text('properties', '$.order_amount') ~ " as decimal(18, 2))") }}
    end as amount_cents,
    occurred_at
from {{ source_rows('wechat', 'events', piece='openid') }} as events
