select
    members.household_id,
    cast(count(*) as integer) as customers,
    max_by(customers.city_code, customers.records) as city_code,
    max_by(customers.province_code, customers.records) as province_code,
    cast(sum(case when members.tie like '%phone%' then 1 else 0 end) as integer) as tied_by_phone,
    cast(sum(case when members.tie like '%address%' then 1 else 0 end) as integer) as tied_by_address,
    min(members.tie) as tie,
    min(customers.first_seen_on) as first_seen_on
from {{ ref('group_households') }} as members
inner join {{ ref('customers') }} as customers on members.customer_id = customers.customer_id
group by members.household_id
having count(*) > 1
