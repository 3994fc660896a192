-- Would customers recommend us, month by month?
select
    cast(date_trunc('month', given_at + interval 8 hour) as date) as month,
    count(nps) as answers,
    count(*) filter (where nps >= 9) as promoters,
    count(*) filter (where nps <= 6) as detractors
from survey_responses
where nps is not null
group by month
order by month;
