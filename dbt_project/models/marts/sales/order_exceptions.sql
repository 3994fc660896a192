-- README, "Odd orders": what is kept and what is not.
with lines as (
    select
        source,
        source || '-' || order_id as order_id,
        source || '-' || order_id || '-' || line_id as order_line_id,
        quantity,
        amount_cents,
        coalesce(currency, '{{ var("currency") }}') as currency,
        {{ refusal_of() }} as refusal
    from {{ ref('union_order_lines') }} as lines_fed
    where not coalesce(is_cancelled, false)
),

headers as (
    select
        source,
        source || '-' || order_id as order_id,
        goods_cents - discount_cents as amount_cents,
        coalesce(currency, '{{ var("currency") }}') as currency,
        {{ refusal_of() }} as refusal
    from {{ ref('union_orders') }} as headers_fed
    where not coalesce(is_cancelled, false)
),

sums as (
    select
        order_id,
        sum(amount_cents) as amount_cents
    from lines
    where refusal is null
    group by order_id
),

found as (
    select
        refusal as reason,
        false as is_kept,
        source,
        order_id,
        order_line_id,
        amount_cents,
        currency
    from lines
    where refusal is not null
    union all
    select
        case when refusal = 'orphan_line' then 'without_moment' else refusal end as reason,
        false as is_kept,
        source,
        order_id,
        cast(null as varchar) as order_line_id,
        amount_cents,
        currency
    from headers
    where refusal is not null
    union all
    select
        case when quantity < 0 then 'return_above_zero' else 'negative_amount' end as reason,
        true as is_kept,
        source,
        order_id,
        order_line_id,
        amount_cents,
        currency
    from lines
    where refusal is null and (quantity >= 0 and amount_cents < 0 or quantity < 0 and amount_cents > 0)
    union all
    select
        'currency_without_rate' as reason,
        true as is_kept,
        source,
        order_id,
        order_line_id,
        amount_cents,
        currency
    from lines
    where refusal is null and {{ company_cents('0', 'currency') }} is null
    union all
    select
        'huge_amount' as reason,
        true as is_kept,
        source,
        order_id,
        cast(null as varchar) as order_line_id,
        original_amount_cents as amount_cents,
        original_currency as currency
    from {{ ref('orders') }}
    where is_huge
    union all
    select
        case when sums.order_id is null then 'order_without_lines' else 'sums_differ' end as reason,
        true as is_kept,
        headers.source,
        headers.order_id,
        cast(null as varchar) as order_line_id,
        headers.amount_cents,
        headers.currency
    from headers
    left join sums on headers.order_id = sums.order_id
    where headers.refusal is null and (sums.order_id is null or sums.amount_cents <> headers.amount_cents)
)

select
    coalesce(order_line_id, order_id) || ':' || reason as exception_key,
    source,
    order_id,
    order_line_id,
    reason,
    is_kept,
    amount_cents as original_amount_cents,
    currency as original_currency
from found
