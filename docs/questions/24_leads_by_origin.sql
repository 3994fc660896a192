-- Where do leads come from, and which of them buy?
select
    origin,
    count(*) as leads,
    count(converted_at) as bought,
    round(count(converted_at) / count(*), 3) as conversion
from leads
group by origin
order by leads desc, origin;
