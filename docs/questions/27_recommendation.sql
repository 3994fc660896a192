-- Would customers recommend us, month by month?
select
    cast(date_trunc('month', given_on) as date) as month,
    count(nps) as answers,
    count(*) filter (where nps_group = 'promoter') as promoters,
    count(*) filter (where nps_group = 'detractor') as detractors
from survey_responses
where nps is not null
group by month
order by month;
