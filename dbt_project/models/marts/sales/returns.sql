select
    source || '-' || return_id as return_key,
    customer_id,
    source,
    return_id,
    order_id,
    product_id,
    quantity,
    refund_cents,
    reason,
    status,
    requested_at,
    {{ local_day('requested_at') }} as requested_on,
    refunded_at
from {{ identified('returns') }} as goods_returned
