-- Which articles of the knowledge base are used, and do they save a second call?
select
    cases.article_id,
    articles.title,
    count(*) as cases,
    count(*) filter (where cases.is_reopened) as asked_again
from service_cases as cases
left join knowledge_articles as articles
    on cases.source = articles.source and cases.article_id = articles.article_id
where cases.status = 'closed'
group by cases.article_id, articles.title
order by cases desc, cases.article_id;
