select
    lines.source || '-' || lines.order_id || '-' || lines.line_id as order_line_id,
    lines.source || '-' || lines.order_id as order_id,
    customers.customer_id,
    lines.source,
    lines.product_id,
    coalesce(lines.catalogue, lines.source) as catalogue,
    lines.store_id,
    lines.channel,
    lines.ordered_at,
    {{ local_day('lines.ordered_at') }} as ordered_on,
    lines.quantity,
    lines.discount_cents,
    lines.amount_cents,
    lines.currency,
    lines.identifier_value is null as is_anonymous
from {{ ref('union_order_lines') }} as lines
left join {{ ref('identify_customers') }} as customers
    on
        lines.identifier_type = customers.identifier_type
        and lines.identifier_value = customers.identifier_value
where not coalesce(lines.is_cancelled, false)
