-- Which sources are not on time with their rows?
select
    source,
    sum(rows_seen) as delivered,
    sum(rows_refused) as refused,
    round(sum(rows_on_time) / sum(rows_seen), 4) as on_time
from source_days
group by source
order by on_time, source;
