-- The language in which a device of a signed-in customer asks, as it was last.
select
    {{ piece('anonymous_id') }} as piece,
    'record' as identifier_type,
    'shop.accounts:' || substr(user_id, 2) as identifier_value,
    max_by(json_extract_string(context, '$.locale'), occurred_at) as language
from {{ source_rows('site', 'events', piece='anonymous_id') }} as events
where user_id is not null and json_extract_string(context, '$.locale') is not null
group by anonymous_id, user_id
