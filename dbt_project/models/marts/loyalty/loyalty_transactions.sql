select
    transactions.source || '-' || transactions.transaction_id as transaction_key,
    transactions.customer_id,
    transactions.source,
    transactions.transaction_id,
    transactions.account_id,
    transactions.kind,
    transactions.points,
    transactions.balance_after,
    orders.order_id,
    transactions.occurred_at,
    {{ local_day('transactions.occurred_at') }} as occurred_on,
    transactions.expires_on
from {{ identified('loyalty_transactions') }} as transactions
left join {{ ref('find_orders') }} as orders on transactions.order_reference = orders.order_number
