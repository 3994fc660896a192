-- A campaign is answered by a redemption of one of its own coupons, whenever that happens.
with sends as (
    select
        campaigns.campaign_key,
        campaigns.campaign_id,
        campaigns.campaign_type,
        campaigns.channel,
        campaigns.ends_on,
        customers.customer_id,
        min(coalesce({{ local_day('sends.sent_at') }}, campaigns.starts_on)) as sent_on
    from {{ ref('union_campaign_sends') }} as sends
    inner join {{ ref('campaigns') }} as campaigns
        on
            sends.source = campaigns.source
            and sends.campaign_id = campaigns.campaign_id
    inner join {{ ref('identify_customers') }} as customers
        on
            sends.identifier_type = customers.identifier_type
            and sends.identifier_value = customers.identifier_value
    group by all
),

redemptions as (
    select
        customer_id,
        campaign_id,
        cast(count(*) as integer) as coupons_redeemed,
        min(redeemed_on) as first_redeemed_on
    from {{ ref('coupon_redemptions') }}
    group by customer_id, campaign_id
),

responses as (
    select
        customers.customer_id,
        responses.source || '-' || responses.campaign_id as campaign_key,
        min(responses.responded_at) filter (where responses.kind in ('open', 'click')) as first_answered_at,
        bool_or(responses.kind = 'open') as is_opened,
        bool_or(responses.kind = 'click') as is_clicked,
        bool_or(responses.kind = 'unsubscribe') as is_unsubscribed
    from {{ ref('union_campaign_responses') }} as responses
    inner join {{ ref('identify_customers') }} as customers
        on
            responses.identifier_type = customers.identifier_type
            and responses.identifier_value = customers.identifier_value
    group by customers.customer_id, responses.source, responses.campaign_id
)

select
    sends.campaign_key || '-' || sends.customer_id as touch_id,
    sends.customer_id,
    sends.campaign_key,
    sends.campaign_id,
    sends.campaign_type,
    sends.channel,
    sends.sent_on,
    sends.ends_on,
    responses.first_answered_at,
    coalesce(responses.is_opened, false) as is_opened,
    coalesce(responses.is_clicked, false) as is_clicked,
    coalesce(responses.is_unsubscribed, false) as is_unsubscribed,
    coalesce(redemptions.coupons_redeemed, 0) as coupons_redeemed,
    redemptions.first_redeemed_on,
    redemptions.customer_id is not null as is_redeemed
from sends
left join redemptions
    on
        sends.customer_id = redemptions.customer_id
        and sends.campaign_id = redemptions.campaign_id
left join responses
    on
        sends.customer_id = responses.customer_id
        and sends.campaign_key = responses.campaign_key
