{{ config(materialized='table', database='workspace', schema='unify') }}

-- Every identifier that a source knows somebody by; the customer where a record says who it is.
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
    sightings.identifier_type,
    sightings.identifier_value,
    sightings.source,
    records.customer_id,
    min(sightings.seen_on) as first_seen_on,
    max(sightings.seen_on) as last_seen_on
from sightings
left join {{ ref('customer_records') }} as records
    -- A condition on the left side alone would make DuckDB compare every row with every record.
    on case when sightings.identifier_type = 'record' then sightings.identifier_value end = records.record_id
where sightings.identifier_value is not null
group by sightings.identifier_type, sightings.identifier_value, sightings.source, records.customer_id
union all
select
    'record' as identifier_type,
    people.record_id as identifier_value,
    people.source,
    records.customer_id,
    {{ local_day('people.created_at') }} as first_seen_on,
    {{ local_day('people.updated_at') }} as last_seen_on
from {{ ref('union_person_records') }} as people
inner join {{ ref('customer_records') }} as records on people.record_id = records.record_id
union all
select
    known.kind as identifier_type,
    known.value_normalised as identifier_value,
    known.source,
    records.customer_id,
    {{ local_day('min(known.first_seen_at)') }} as first_seen_on,
    {{ local_day('max(known.last_seen_at)') }} as last_seen_on
from {{ ref('union_identifiers') }} as known
inner join {{ ref('customer_records') }} as records on known.record_id = records.record_id
group by known.kind, known.value_normalised, known.source, records.customer_id
