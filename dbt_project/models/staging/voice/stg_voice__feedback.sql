-- What is said in public. Only reviews in our own shop say who wrote them.
select
    case when account_id is not null then 'record' end as identifier_type,
    {{ record_id('shop.accounts', 'account_id') }} as identifier_value,
    'review-' || cast(review_id as varchar) as feedback_id,
    'review' as kind,
    platform,
    sku as product_id,
    'shop' as catalogue,
    order_no as order_reference,
    stars,
    cast(null as integer) as likes,
    cast(null as integer) as comments,
    reply is not null as has_reply,
    case when body is not null then {{ record_id('voice.reviews', 'review_id') }} end as text_key,
    posted_at as given_at
from {{ source_rows('voice', 'reviews') }} as reviews
union all
select
    cast(null as varchar) as identifier_type,
    cast(null as varchar) as identifier_value,
    'post-' || cast(post_id as varchar) as feedback_id,
    'post' as kind,
    platform,
    cast(null as varchar) as product_id,
    cast(null as varchar) as catalogue,
    cast(null as varchar) as order_reference,
    cast(null as integer) as stars,
    likes,
    comments,
    false as has_reply,
    case when body is not null then {{ record_id('voice.posts', 'post_id') }} end as text_key,
    posted_at as given_at
from {{ source_rows('voice', 'posts') }} as posts
