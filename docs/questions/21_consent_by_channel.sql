-- To whom may we send marketing, by channel?
select
    channel,
    count(*) as customers
from consent_states
where purpose = 'marketing' and is_granted
group by channel
order by channel;
