with known as (
    select
        'shop.accounts:' || substr(user_id, 2) as record_id,
        unnest([
            {'kind': 'device', 'value': anonymous_id, 'is_verified': true},
            {'kind': 'member_no', 'value': json_extract_string(traits, '$.member_no'), 'is_verified': true}
        ], recursive := true),
        min(occurred_at) as first_seen_at,
        max(occurred_at) as last_seen_at
    from {{ source_rows('web', 'events') }} as events
    where type = 'identify' and user_id is not null
    group by user_id, anonymous_id, json_extract_string(traits, '$.member_no')
)

select
    record_id,
    kind,
    value as value_normalised,
    is_verified,
    first_seen_at,
    last_seen_at
from known
where value is not null
