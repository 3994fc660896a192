-- What came of each campaign: sent, opened, clicked, bought with its coupon, unsubscribed?
select
    campaigns.name,
    campaigns.channel,
    campaigns.starts_on,
    count(*) as customers,
    count(*) filter (where touches.is_opened) as opened,
    count(*) filter (where touches.is_clicked) as clicked,
    count(*) filter (where touches.is_redeemed) as redeemed,
    count(*) filter (where touches.is_unsubscribed) as unsubscribed
from campaign_touches as touches
inner join campaigns on touches.campaign_key = campaigns.campaign_key
group by campaigns.campaign_key, campaigns.name, campaigns.channel, campaigns.starts_on
order by campaigns.starts_on, campaigns.campaign_key;
