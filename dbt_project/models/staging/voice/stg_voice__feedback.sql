-- Surveys, and what is said in public. Only reviews of our own shop say who wrote them.
select
    'record' as identifier_type,
    {{ record_id('voice.responses', 'response_id') }} as identifier_value,
    'survey-' || cast(response_id as varchar) as feedback_id,
    'survey' as kind,
    'survey ' || tier as platform,
    cast(null as varchar) as product_id,
    cast(null as integer) as stars,
    nps,
    csat,
    comment is not null as has_text,
    submitted_at as given_at
from {{ source_rows('voice', 'responses') }} as responses
union all by name
select
    'record' as identifier_type,
    {{ record_id('shop.accounts', 'account_id') }} as identifier_value,
    'review-' || cast(review_id as varchar) as feedback_id,
    'review' as kind,
    platform,
    sku as product_id,
    stars,
    body is not null as has_text,
    posted_at as given_at
from {{ source_rows('voice', 'reviews') }} as reviews
union all by name
select
    cast(null as varchar) as identifier_type,
    cast(null as varchar) as identifier_value,
    'post-' || cast(post_id as varchar) as feedback_id,
    'post' as kind,
    platform,
    body is not null as has_text,
    posted_at as given_at
from {{ source_rows('voice', 'posts') }} as posts
