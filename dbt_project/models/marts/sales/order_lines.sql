{{ config(
    materialized='incremental',
    piece="order_line_id",
    fed_by={'union_order_lines': "source || '-' || order_id || '-' || line_id"},
    order_by='customer_id, ordered_at'
) }}

select
    lines.source || '-' || lines.order_id || '-' || lines.line_id as order_line_id,
    lines.source || '-' || lines.order_id as order_id,
    lines.customer_id,
    lines.source,
    lines.product_id,
    coalesce(lines.catalogue, lines.source) as catalogue,
    lines.store_id,
    lines.channel,
    lines.ordered_at,
    {{ local_day('lines.ordered_at') }} as ordered_on,
    lines.quantity,
    {{ company_cents('lines.discount_cents', 'lines.currency') }} as discount_cents,
    {{ company_cents('lines.amount_cents', 'lines.currency') }} as amount_cents,
    '{{ var("currency") }}' as currency,
    lines.amount_cents as original_amount_cents,
    coalesce(lines.currency, '{{ var("currency") }}') as original_currency,
    lines.identifier_value is null as is_anonymous
from {{ identified('order_lines') }} as lines
where not coalesce(lines.is_cancelled, false) and {{ refusal_of('lines') }} is null
