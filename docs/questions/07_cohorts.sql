-- Of those who first bought in a month, how many have bought again within three, six, twelve months?
with firsts as (
    select
        customer_id,
        min(ordered_on) as first_on
    from orders
    where customer_id is not null and amount_cents >= 0
    group by customer_id
),

seconds as (
    select
        firsts.customer_id,
        min(orders.ordered_on) as second_on
    from firsts
    inner join orders on firsts.customer_id = orders.customer_id and orders.ordered_on > firsts.first_on
    where orders.amount_cents >= 0
    group by firsts.customer_id
)

select
    cast(date_trunc('month', firsts.first_on) as date) as cohort,
    count(*) as customers,
    count(*) filter (where seconds.second_on <= firsts.first_on + interval 3 month) as within_3_months,
    count(*) filter (where seconds.second_on <= firsts.first_on + interval 6 month) as within_6_months,
    count(*) filter (where seconds.second_on <= firsts.first_on + interval 12 month) as within_12_months
from firsts
left join seconds on firsts.customer_id = seconds.customer_id
group by cohort
order by cohort;
