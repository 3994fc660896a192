-- What holds on the as-of day. Every consent says that it was given, and perhaps that it was taken
-- back; the last word about a channel holds, and a word about all channels is one about each. At the
-- same moment the word that takes back holds.
with words as (
    select
        customer_id,
        purpose,
        channel,
        true as is_granted,
        captured_at as said_at
    from {{ ref('consents') }}
    where captured_at is not null and customer_id is not null
    union all
    select
        customer_id,
        purpose,
        channel,
        false as is_granted,
        withdrawn_at as said_at
    from {{ ref('consents') }}
    where withdrawn_at is not null and customer_id is not null
),

channels as (
    select distinct
        purpose,
        channel
    from words
    where channel <> 'all'
    union
    select
        purpose,
        'all' as channel
    from words
    group by purpose
    having count(*) filter (where channel <> 'all') = 0
),

spoken as (
    select
        words.customer_id,
        words.purpose,
        coalesce(channels.channel, words.channel) as channel,
        words.is_granted,
        words.said_at
    from words
    left join channels on case when words.channel = 'all' then words.purpose end = channels.purpose
    where words.said_at < {{ cutoff() }}
)

select
    customer_id,
    purpose,
    channel,
    is_granted,
    said_at as since_at
from spoken
qualify
    row_number() over (
        partition by customer_id, purpose, channel order by said_at desc, is_granted asc
    ) = 1
