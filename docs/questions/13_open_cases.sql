-- Which cases are open, and since when?
select
    topic,
    count(*) as cases,
    min(opened_on) as oldest_on
from service_cases
where status = 'open'
group by topic
order by cases desc, topic;
