-- After how many days do customers come back, by tier?
select
    value_tier,
    sum(repurchases) as repurchases,
    round(sum(days_since_previous_purchase) / sum(repurchases), 1) as mean_days
from customer_months
where repurchases > 0
group by value_tier
order by value_tier;
