with orders as (
    select
        customer_id,
        ordered_on,
        amount_cents,
        quantity
    from {{ ref('orders') }}
),

origins as (
    select {{ as_of() }} as as_of
)

select * from (
    {{ customer_features('orders', 'origins', var('churn_horizon_days')) }}
) as features
