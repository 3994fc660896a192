-- What came of each campaign: sent, delivered, opened, clicked, bought, unsubscribed, and what did it cost and bring?
select
    campaigns.name,
    campaigns.channel,
    campaigns.starts_on,
    count(*) as sent_to,
    count(*) filter (where touches.is_delivered) as delivered_to,
    count(*) filter (where touches.is_opened) as opened,
    count(*) filter (where touches.is_clicked) as clicked,
    count(*) filter (where touches.is_bought) as bought,
    count(*) filter (where touches.is_unsubscribed) as unsubscribed,
    any_value(campaigns.cost_cents) as cost_cents,
    cast(sum(touches.attributed_cents) as bigint) as attributed_cents
from campaign_touches as touches
inner join campaigns on touches.campaign_key = campaigns.campaign_key
group by campaigns.campaign_key, campaigns.name, campaigns.channel, campaigns.starts_on
order by campaigns.starts_on, campaigns.campaign_key;
