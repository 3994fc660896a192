-- Who moved from which tier to which in the last year?
with months as (
    select max(month) as now from customer_months
)

select
    before.value_tier as tier_a_year_ago,
    after.value_tier as tier_now,
    count(*) as customers
from customer_months as before
cross join months
inner join customer_months as after
    on before.customer_id = after.customer_id and after.month = months.now
where before.month = months.now - interval 1 year and before.value_tier is not null
group by before.value_tier, after.value_tier
order by before.value_tier, after.value_tier;
