-- Which partner repairs how much, and what does it cost?
select
    partner_id,
    count(*) as repairs,
    cast(sum(labour_cents) as bigint) as labour_cents,
    cast(sum(parts_cents) as bigint) as parts_cents
from repairs
group by partner_id
order by repairs desc, partner_id;
