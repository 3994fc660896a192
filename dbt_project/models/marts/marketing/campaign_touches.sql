{{ config(uncompressed='customer_id') }}

-- What came of a campaign at one customer. Bought is what the rule of order_attributions credits.
with sends as (
    select
        campaign_key,
        customer_id,
        min(channel) as channel,
        cast(count(*) as integer) as messages,
        bool_or(is_delivered) as is_delivered,
        cast(sum(cost_cents) as bigint) as cost_cents,
        coalesce(min(case when is_delivered then sent_at end), min(sent_at)) as sent_at,
        coalesce(min(case when is_delivered then sent_on end), min(sent_on)) as sent_on
    from {{ ref('campaign_messages') }}
    where customer_id is not null
    group by campaign_key, customer_id
),

redemptions as (
    select
        customer_id,
        campaign_key,
        cast(count(*) as integer) as coupons_redeemed,
        min(redeemed_on) as first_redeemed_on
    from {{ ref('coupon_redemptions') }}
    group by customer_id, campaign_key
),

responses as (
    select
        customer_id,
        campaign_key,
        min(case when kind = 'open' then responded_at end) as opened_at,
        min(case when kind = 'click' then responded_at end) as clicked_at,
        bool_or(kind = 'unsubscribe') as is_unsubscribed,
        bool_or(kind = 'complaint') as is_complained
    from {{ ref('campaign_responses') }}
    group by customer_id, campaign_key
),

credited as (
    select
        customer_id,
        campaign_key,
        cast(count(*) as integer) as orders,
        cast(sum(amount_cents) as bigint) as amount_cents,
        min(ordered_on) as first_ordered_on
    from {{ ref('order_attributions') }}
    group by customer_id, campaign_key
)

select
    sends.campaign_key || '-' || sends.customer_id as touch_id,
    sends.customer_id,
    sends.campaign_key,
    campaigns.campaign_id,
    campaigns.campaign_type,
    sends.channel,
    sends.sent_at,
    sends.sent_on,
    campaigns.ends_on,
    sends.messages,
    sends.cost_cents,
    sends.is_delivered,
    -- Who follows a link has opened the message, whether or not its pictures were loaded.
    responses.opened_at is not null or responses.clicked_at is not null as is_opened,
    responses.clicked_at is not null as is_clicked,
    least(responses.opened_at, responses.clicked_at) as first_answered_at,
    coalesce(responses.is_unsubscribed, false) as is_unsubscribed,
    coalesce(responses.is_complained, false) as is_complained,
    responses.opened_at,
    responses.clicked_at,
    coalesce(redemptions.coupons_redeemed, 0) as coupons_redeemed,
    redemptions.first_redeemed_on,
    redemptions.customer_id is not null as is_redeemed,
    credited.customer_id is not null as is_bought,
    coalesce(credited.orders, 0) as attributed_orders,
    coalesce(credited.amount_cents, 0) as attributed_cents,
    credited.first_ordered_on
from sends
left join {{ ref('campaigns') }} as campaigns on sends.campaign_key = campaigns.campaign_key
left join redemptions
    on sends.customer_id = redemptions.customer_id and sends.campaign_key = redemptions.campaign_key
left join responses
    on sends.customer_id = responses.customer_id and sends.campaign_key = responses.campaign_key
left join credited
    on sends.customer_id = credited.customer_id and sends.campaign_key = credited.campaign_key
