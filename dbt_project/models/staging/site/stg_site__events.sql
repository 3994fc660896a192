-- Who is signed in is the account; a device is known by a digest of its id.
select
    {{ piece('anonymous_id') }} as piece,
    case when user_id is not null then 'record' else 'device' end as identifier_type,
    case when user_id is not null then 'shop.accounts:' || substr(user_id, 2) else anonymous_id end
        as identifier_value,
    message_id as event_id,
    md5('site:' || coalesce(anonymous_id, user_id, message_id)) as device_id,
    case when {{ json_text('context', '$.library.name') }} = 'analytics.js' then 'web' else 'app' end
        as channel,
    case
        when type = 'identify' then 'sign_in'
        when type in ('page', 'screen') then 'page'
        when event = 'Product Viewed' then 'product'
        when event = 'Product Added' then 'cart'
        when event = 'Checkout Started' then 'checkout'
        when event = 'Order Completed' then 'order'
        when event = 'Products Searched' then 'search'
        else 'other'
    end as kind,
    coalesce(event, name, type) as name,
    {{ json_text('properties', '$.sku') }} as product_id,
    {{ json_text('properties', '$.category') }} as category,
    case
        when event = 'Order Completed'
            then {{ minor_units("cast(" ~ json_text('properties', '$.revenue') ~ " as decimal(18, 2))") }}
    end as amount_cents,
    occurred_at
from {{ source_rows('site', 'events', piece='anonymous_id') }} as events
