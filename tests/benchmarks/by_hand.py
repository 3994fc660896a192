"""The peer of the benchmark: the marts of The Complete Journey as one hand-written DuckDB script.

What an engineer would write who knows this data and needs no landing, no contracts, no history, no
gates and no second company: the same Parquet in, the same tables out. What does not belong here:
anything that customer360 does around them. Only the features come from customer360, rendered to
plain SQL, so that both sides compute one definition.
"""

import shutil
from pathlib import Path

import duckdb

from customer360.scoring.features import features_sql

TABLES = (
    "customers",
    "orders",
    "order_lines",
    "products",
    "campaigns",
    "coupon_redemptions",
    "campaign_touches",
    "customer_touchpoints",
    "customer_features",
    "customer_value",
)
ZONE = "America/New_York"

SCRIPT = """
create temp table till as
select
    'c' || substr(md5('household_id:' || household_id), 1, 16) as customer_id,
    basket_id, product_id, store_id, transaction_timestamp as ordered_at, quantity,
    cast(timezone('{zone}', timezone('UTC', transaction_timestamp)) as date) as ordered_on,
    cast(round(100 * (
        retail_disc::decimal(12, 2) + coupon_disc::decimal(12, 2)
        + coupon_match_disc::decimal(12, 2)
    )) as bigint) as discount_cents,
    cast(round(100 * sales_value::decimal(12, 2)) as bigint) as amount_cents
from '{source}/transactions.parquet'
where transaction_timestamp
    < timezone('UTC', timezone('{zone}', timestamp '{as_of}' + interval 1 day))
qualify row_number() over (
    partition by basket_id, product_id order by transaction_timestamp desc
) = 1;

create temp table redeemed as
select distinct
    'c' || substr(md5('household_id:' || household_id), 1, 16) as customer_id,
    campaign_id::varchar as campaign_id, coupon_upc::varchar as coupon_id,
    redemption_date::date as redeemed_on
from '{source}/coupon_redemptions.parquet'
where redemption_date::date <= date '{as_of}';

create table campaigns as
select
    'campaign_tool-' || campaign_id as campaign_key, campaign_id::varchar as campaign_id,
    'campaign_tool' as source, campaign_type, 'mail' as channel,
    start_date::date as starts_on, end_date::date as ends_on
from '{source}/campaign_descriptions.parquet'
where start_date::date <= date '{as_of}';

create temp table mailed as
select distinct
    'c' || substr(md5('household_id:' || household_id), 1, 16) as customer_id, campaigns.*
from '{source}/campaigns.parquet' as sends
inner join campaigns on sends.campaign_id::varchar = campaigns.campaign_id;

create temp table profiles as
select
    'c' || substr(md5('household_id:' || household_id), 1, 16) as customer_id,
    any_value(age) as age_band, any_value(income) as income_band,
    any_value(home_ownership) as home_ownership, any_value(marital_status) as marital_status,
    any_value(household_size) as household_size,
    any_value(household_comp) as household_composition, any_value(kids_count) as kids_count
from '{source}/demographics.parquet'
group by household_id;

create table customers as
with sightings as (
    select customer_id, 'till' as source, min(ordered_on) as first_on, max(ordered_on) as last_on
    from till group by customer_id
    union all
    select customer_id, 'coupon_system', min(redeemed_on), max(redeemed_on)
    from redeemed group by customer_id
    union all
    select customer_id, 'campaign_tool', min(starts_on), max(starts_on)
    from mailed group by customer_id
    union all
    select customer_id, 'customer_file', null, null from profiles
)
select
    customer_id, min(first_on) as first_seen_on, max(last_on) as last_seen_on,
    count(distinct source)::integer as source_systems,
    any_value(columns(profiles.* exclude (customer_id))),
    bool_or(profiles.customer_id is not null) as has_profile
from sightings left join profiles using (customer_id)
group by customer_id;

create table products as
select
    'till-' || product_id as product_key, product_id::varchar as product_id, 'till' as source,
    department, product_category as category, product_type, brand,
    manufacturer_id::varchar as manufacturer_id, package_size::varchar as package_size
from '{source}/products.parquet';

create table order_lines as
select
    'till-' || basket_id || '-' || product_id as order_line_id, 'till-' || basket_id as order_id,
    customer_id, 'till' as source, product_id::varchar as product_id,
    store_id::varchar as store_id, 'store' as channel, ordered_at, ordered_on, quantity,
    discount_cents, amount_cents, 'USD' as currency
from till;

create table orders as
select
    'till-' || basket_id as order_id, any_value(customer_id) as customer_id, 'till' as source,
    any_value(store_id)::varchar as store_id, 'store' as channel, min(ordered_at) as ordered_at,
    min(ordered_on) as ordered_on, count(*)::integer as lines, sum(quantity)::bigint as quantity,
    sum(discount_cents)::bigint as discount_cents, sum(amount_cents)::bigint as amount_cents,
    'USD' as currency
from till
group by basket_id;

create table coupon_redemptions as
select
    concat_ws('-', 'coupon_system', customer_id, campaign_id, coupon_id, redeemed_on)
        as redemption_id,
    customer_id, 'coupon_system' as source, campaign_id, coupon_id, redeemed_on
from redeemed;

create table campaign_touches as
select
    campaign_key || '-' || customer_id as touch_id, customer_id, campaign_key, campaign_id,
    campaign_type, channel, starts_on as sent_on, ends_on,
    coalesce(coupons_redeemed, 0) as coupons_redeemed, first_redeemed_on,
    coupons_redeemed is not null as is_redeemed
from mailed
left join (
    select
        customer_id, campaign_id, count(*)::integer as coupons_redeemed,
        min(redeemed_on) as first_redeemed_on
    from redeemed group by all
) using (customer_id, campaign_id);

create table customer_touchpoints as
select
    'order-' || order_id as touchpoint_id, customer_id, ordered_at as occurred_at,
    ordered_on as occurred_on, channel, 'inbound' as direction, 'purchase' as kind,
    'store ' || store_id as subject, amount_cents, source, order_id as source_key
from orders
union all
select
    'campaign-' || touch_id, customer_id,
    timezone('UTC', timezone('{zone}', sent_on::timestamp)), sent_on, channel, 'outbound',
    'campaign', 'campaign ' || campaign_id, null, 'campaign_tool', touch_id
from campaign_touches
union all
select
    'coupon-' || redemption_id, customer_id,
    timezone('UTC', timezone('{zone}', redeemed_on::timestamp)), redeemed_on, 'store', 'inbound',
    'coupon', 'coupon ' || coupon_id || ' of campaign ' || campaign_id, null, source,
    redemption_id
from coupon_redemptions;

create temp table origins as select date '{as_of}' as as_of;

create table customer_features as {features};

create table customer_value as
with active as (
    select
        customer_id,
        6 - ntile(5) over (order by recency_days, customer_id) as recency_score,
        ntile(5) over (order by orders_52w, customer_id) as frequency_score,
        ntile(5) over (order by spend_cents_52w, customer_id) as monetary_score
    from customer_features where orders_52w > 0
)
select
    customer_id, as_of, recency_days as days_since_last_order, orders_52w as orders_52_weeks,
    spend_cents_52w as spend_52_weeks_cents, spend_cents_total as spend_total_cents,
    coalesce(recency_score, 0)::integer as recency_score,
    coalesce(frequency_score, 0)::integer as frequency_score,
    coalesce(monetary_score, 0)::integer as monetary_score,
    case
        when spend_cents_52w >= 400000 then 'high'
        when spend_cents_52w >= 150000 then 'medium'
        else 'low'
    end as value_tier
from customer_features left join active using (customer_id);
"""


def build(source: Path, as_of: str, target: Path, threads: int, memory: str) -> None:
    """Build the tables of ``source`` (a folder of Parquet) and publish them as ``target``."""
    work = target.with_suffix(".work")
    features = features_sql("orders", "origins", 28)
    with duckdb.connect(str(work), config={"threads": threads, "memory_limit": memory}) as hand:
        hand.execute("set TimeZone = 'UTC'")
        hand.execute(SCRIPT.format(source=source, as_of=as_of, zone=ZONE, features=features))
        hand.execute("checkpoint")
    aside = target.with_suffix(".partial")
    shutil.copyfile(work, aside)
    aside.rename(target)
