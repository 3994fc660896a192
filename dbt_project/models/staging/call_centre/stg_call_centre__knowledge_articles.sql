select
    cast(article_id as varchar) as article_id,
    title,
    topic,
    body,
    status,
    published_at,
    updated_at
from {{ source_rows('call_centre', 'articles') }} as articles
