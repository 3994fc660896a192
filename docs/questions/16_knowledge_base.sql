-- Which articles of the knowledge base are used, and do they save a second call?
select
    article_id,
    count(*) as cases,
    count(*) filter (where reopened_count > 0) as asked_again
from service_cases
where status = 'closed'
group by article_id
order by cases desc, article_id;
