select
    source || '-' || deal_id as deal_key,
    customer_id,
    source,
    deal_id,
    product_line,
    stage,
    stage = 'won' as is_won,
    amount_cents,
    lost_reason,
    sales_id,
    opened_at,
    {{ local_day('opened_at') }} as opened_on,
    expected_close_on,
    closed_at,
    {{ local_day('closed_at') }} as closed_on,
    {{ days_between(local_day('opened_at'), local_day('closed_at')) }} as cycle_days
from {{ identified('deals') }} as deals
