-- A cart is abandoned once nothing has changed in it for the hours of policies.yml
-- (behaviour.cart_abandoned_after_hours) and it became no order.
with lines as (
    select
        cart_key,
        cast(count(*) as integer) as lines,
        cast(sum(quantity) as bigint) as quantity,
        cast(sum(amount_cents) as bigint) as amount_cents,
        max(added_at) as last_added_at,
        {{ latest('product_id', 'amount_cents') }} as main_product_id
    from {{ ref('cart_lines') }}
    group by cart_key
),

carts as (
    select
        carts.*,
        carts.source || '-' || carts.cart_id as cart_key,
        lines.lines,
        lines.quantity,
        lines.amount_cents,
        lines.main_product_id,
        greatest(carts.updated_at, coalesce(lines.last_added_at, carts.updated_at)) as changed_at
    from {{ identified('carts') }} as carts
    left join lines on carts.source || '-' || carts.cart_id = lines.cart_key
),

judged as (
    select
        *,
        {{ add_minutes('changed_at', var('cart_abandoned_after_hours') * 60) }} as given_up_at
    from carts
)

select
    cart_key,
    customer_id,
    source,
    channel,
    case
        when order_id is not null or status = 'ordered' then 'ordered'
        when status = 'abandoned' or given_up_at <= {{ cutoff() }} then 'abandoned'
        else 'open'
    end as status,
    source || '-' || order_id as order_id,
    coalesce(lines, 0) as lines,
    coalesce(quantity, 0) as quantity,
    coalesce(amount_cents, 0) as amount_cents,
    main_product_id,
    created_at,
    changed_at as updated_at,
    {{ local_day('changed_at') }} as updated_on,
    case
        when order_id is null and coalesce(status, 'open') <> 'ordered' and given_up_at <= {{ cutoff() }}
            then given_up_at
    end as abandoned_at
from judged
