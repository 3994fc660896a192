with sightings as (
    select
        identifier_type,
        identifier_value,
        source,
        {{ local_day('ordered_at') }} as seen_on
    from {{ ref('union_order_lines') }}
    union all
    select
        identifier_type,
        identifier_value,
        source,
        redeemed_on as seen_on
    from {{ ref('union_coupon_redemptions') }}
    union all
    select
        identifier_type,
        identifier_value,
        source,
        null as seen_on
    from {{ ref('union_customer_profiles') }}
    union all
    select
        sends.identifier_type,
        sends.identifier_value,
        sends.source,
        campaigns.starts_on as seen_on
    from {{ ref('union_campaign_sends') }} as sends
    inner join {{ ref('union_campaigns') }} as campaigns
        on
            sends.source = campaigns.source
            and sends.campaign_id = campaigns.campaign_id
    where campaigns.starts_on <= {{ as_of() }}
)

select
    -- One strong identifier is one customer.
    'c' || substr(md5(identifier_type || ':' || identifier_value), 1, 16) as customer_id,
    identifier_type,
    identifier_value,
    source,
    min(seen_on) as first_seen_on,
    max(seen_on) as last_seen_on
from sightings
where identifier_value is not null
group by identifier_type, identifier_value, source
