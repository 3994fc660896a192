select
    prices.source || '-' || prices.price_id as price_key,
    prices.source,
    prices.product_id,
    prices.price_cents,
    lag(prices.price_cents) over (
        partition by prices.source, prices.product_id order by prices.valid_from, prices.price_id
    ) as previous_price_cents,
    prices.reason,
    prices.valid_from,
    case when prices.valid_until < {{ cutoff() }} then prices.valid_until end as valid_until,
    coalesce(prices.valid_until >= {{ cutoff() }}, true) as is_current
from {{ ref('union_product_prices') }} as prices
where prices.valid_from < {{ cutoff() }}
