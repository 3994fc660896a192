with signed_in as (
    select
        substr(user_id, 2) as account_id,
        anonymous_id,
        {{ json_text('traits', '$.member_no') }} as member_no,
        min(occurred_at) as first_seen_at,
        max(occurred_at) as last_seen_at
    from {{ source_rows('site', 'events', piece='anonymous_id') }} as events
    where type = 'identify' and user_id is not null
    group by all
)

{{ identifiers_of(
    "signed_in",
    record_id('shop.accounts', 'account_id'),
    [
        ['device', 'anonymous_id', 'true'],
        ['member_no', 'member_no', 'true'],
    ],
    'first_seen_at',
    'last_seen_at',
    cut_by='anonymous_id'
) }}
