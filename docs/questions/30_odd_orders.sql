-- Which orders were odd, and which of them were not taken?
select
    reason,
    is_kept,
    count(*) as rows
from order_exceptions
group by reason, is_kept
order by rows desc, reason;
