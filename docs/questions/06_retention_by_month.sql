-- How many of those who were active a year before have bought again, month by month?
select
    month,
    numerator as bought_again,
    denominator as were_active,
    value as retention
from kpi_scorecard
where measure = 'retention_rate' and denominator > 0
order by month;
