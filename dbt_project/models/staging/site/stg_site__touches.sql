-- A day on the site or in the app is one touch, of those who have signed in there.
with devices as (
    select
        anonymous_id,
        max_by(user_id, occurred_at) as user_id
    from {{ source_rows('site', 'events') }} as identified
    where user_id is not null
    group by anonymous_id
)

select
    'record' as identifier_type,
    'shop.accounts:' || substr(devices.user_id, 2) as identifier_value,
    'web-day-' || events.anonymous_id || '-' || cast({{ local_day('events.occurred_at') }} as varchar)
        as touch_id,
    'visit' as kind,
    case
        when {{ json_text('any_value(events.context)', '$.library.name') }} = 'analytics.js' then 'web'
        else 'app'
    end as channel,
    'inbound' as direction,
    cast(count(*) filter (where events.event = 'Product Viewed') as varchar) || ' products seen' as subject,
    min(events.occurred_at) as occurred_at
from {{ source_rows('site', 'events') }} as events
inner join devices on events.anonymous_id = devices.anonymous_id
group by devices.user_id, events.anonymous_id, {{ local_day('events.occurred_at') }}
