-- How content are customers with our service, by what it was about?
select
    topic,
    count(satisfaction) as answers,
    cast(sum(satisfaction) as bigint) as points,
    round(avg(satisfaction), 2) as mean
from service_cases
group by topic
order by topic;
