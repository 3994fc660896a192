-- To whom may we send marketing, by channel?
with channels as (
    select distinct channel
    from consents
    where purpose = 'marketing' and channel <> 'all'
),

last_words as (
    select
        consents.customer_id,
        channels.channel,
        arg_max(
            consents.is_granted,
            (coalesce(case when consents.is_granted then captured_at else withdrawn_at end, captured_at), not consents.is_granted)
        ) as is_granted
    from consents
    inner join channels on consents.channel in (channels.channel, 'all')
    where consents.purpose = 'marketing'
    group by consents.customer_id, channels.channel
)

select
    channel,
    count(*) as customers
from last_words
where is_granted
group by channel
order by channel;
