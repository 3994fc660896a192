with sent as (
    select
        source || '-' || campaign_id as campaign_key,
        cast(count(*) as integer) as messages,
        cast(count(*) filter (where coalesce(status, 'delivered') = 'delivered') as integer) as delivered,
        cast(sum(cost_cents) as bigint) as cost_cents
    from {{ ref('union_campaign_sends') }}
    group by source, campaign_id
)

select
    campaigns.source || '-' || campaigns.campaign_id as campaign_key,
    campaigns.campaign_id,
    campaigns.source,
    campaigns.campaign_type,
    campaigns.name,
    campaigns.channel,
    campaigns.objective,
    campaigns.design,
    campaigns.holdout_share,
    campaigns.coupon_value_cents,
    campaigns.coupon_min_spend_cents,
    campaigns.status,
    campaigns.starts_on,
    campaigns.ends_on,
    coalesce(campaigns.starts_at, {{ day_start('campaigns.starts_on') }}) as starts_at,
    campaigns.ends_at,
    coalesce(sent.messages, 0) as messages,
    coalesce(sent.delivered, 0) as delivered,
    campaigns.fixed_cost_cents,
    sent.cost_cents as message_cost_cents,
    case
        when campaigns.fixed_cost_cents is not null or sent.cost_cents is not null
            then coalesce(campaigns.fixed_cost_cents, 0) + coalesce(sent.cost_cents, 0)
    end as cost_cents
from {{ ref('union_campaigns') }} as campaigns
left join sent on campaigns.source || '-' || campaigns.campaign_id = sent.campaign_key
where campaigns.starts_on <= {{ as_of() }}
