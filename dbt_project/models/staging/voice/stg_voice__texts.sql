-- What people wrote beside their ratings (1 to 5); posts name nobody whom we know.
select
    'record' as identifier_type,
    {{ record_id('voice.responses', 'response_id') }} as identifier_value,
    {{ record_id('voice.responses', 'response_id') }} as text_id,
    'survey' as kind,
    submitted_at as said_at,
    csat as rating,
    {{ adapter.quote('comment') }} as body
from {{ source_rows('voice', 'responses') }} as responses
where {{ adapter.quote('comment') }} is not null
union all by name
select
    'record' as identifier_type,
    {{ record_id('shop.accounts', 'account_id') }} as identifier_value,
    {{ record_id('voice.reviews', 'review_id') }} as text_id,
    'review' as kind,
    posted_at as said_at,
    stars as rating,
    body
from {{ source_rows('voice', 'reviews') }} as reviews
where body is not null
union all by name
select
    cast(null as varchar) as identifier_type,
    cast(null as varchar) as identifier_value,
    {{ record_id('voice.posts', 'post_id') }} as text_id,
    'post' as kind,
    posted_at as said_at,
    cast(null as double) as rating,
    body
from {{ source_rows('voice', 'posts') }} as posts
where body is not null
