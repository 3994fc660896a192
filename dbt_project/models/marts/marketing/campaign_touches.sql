-- A campaign is answered by a redemption of one of its own coupons, whenever that happens.
with redemptions as (
    select
        customer_id,
        campaign_id,
        cast(count(*) as integer) as coupons_redeemed,
        min(redeemed_on) as first_redeemed_on
    from {{ ref('coupon_redemptions') }}
    group by customer_id, campaign_id
)

select
    campaigns.campaign_key || '-' || customers.customer_id as touch_id,
    customers.customer_id,
    campaigns.campaign_key,
    campaigns.campaign_id,
    campaigns.campaign_type,
    campaigns.channel,
    campaigns.starts_on as sent_on,
    campaigns.ends_on,
    coalesce(redemptions.coupons_redeemed, 0) as coupons_redeemed,
    redemptions.first_redeemed_on,
    redemptions.customer_id is not null as is_redeemed
from {{ ref('union_campaign_sends') }} as sends
inner join {{ ref('campaigns') }} as campaigns
    on
        sends.source = campaigns.source
        and sends.campaign_id = campaigns.campaign_id
inner join {{ ref('identify_customers') }} as customers
    on
        sends.identifier_type = customers.identifier_type
        and sends.identifier_value = customers.identifier_value
left join redemptions
    on
        customers.customer_id = redemptions.customer_id
        and sends.campaign_id = redemptions.campaign_id
