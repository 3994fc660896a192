-- To whom may we send marketing, by channel?
select
    channel,
    count(distinct customer_id) as customers
from consents
where purpose = 'marketing' and is_granted
group by channel
order by channel;
