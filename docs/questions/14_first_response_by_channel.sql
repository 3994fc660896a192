-- How fast is the first answer, by channel?
select
    channel,
    count(*) as cases,
    count(first_response_minutes) as answered,
    cast(sum(first_response_minutes) as bigint) as minutes,
    round(avg(first_response_minutes), 1) as mean_minutes
from service_cases
group by channel
order by channel;
