-- Where only the campaign's first day is known, its messages are of that day. What a source says
-- nothing about was delivered.
select
    sends.source || '-' || sends.send_id as message_key,
    sends.source || '-' || sends.campaign_id as campaign_key,
    sends.customer_id,
    sends.source,
    coalesce(sends.channel, campaigns.channel) as channel,
    coalesce(sends.status, 'delivered') as status,
    coalesce(sends.status, 'delivered') = 'delivered' as is_delivered,
    sends.cost_cents,
    coalesce(sends.sent_at, campaigns.starts_at) as sent_at,
    coalesce({{ local_day('sends.sent_at') }}, campaigns.starts_on) as sent_on
from {{ identified('campaign_sends') }} as sends
left join {{ ref('campaigns') }} as campaigns
    on sends.source || '-' || sends.campaign_id = campaigns.campaign_key
where sends.sent_at is not null or campaigns.campaign_key is not null
