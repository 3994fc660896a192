with used as (
    select
        source,
        article_id,
        cast(count(*) as integer) as cases
    from {{ ref('service_cases') }}
    where article_id is not null
    group by source, article_id
)

select
    articles.source || '-' || articles.article_id as article_key,
    articles.article_id,
    articles.source,
    articles.title,
    articles.topic,
    articles.body,
    articles.status,
    articles.published_at,
    articles.updated_at,
    coalesce(used.cases, 0) as cases
from {{ ref('union_knowledge_articles') }} as articles
left join used on articles.source = used.source and articles.article_id = used.article_id
