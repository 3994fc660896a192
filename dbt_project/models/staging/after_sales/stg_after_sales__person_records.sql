-- Who owns an appliance, and who was visited.
select
    {{ record_id('after_sales.installed', 'serial_no') }} as record_id,
    'person' as entity,
    {{ plain_text('owner_name') }} as full_name,
    province,
    city,
    district,
    {{ plain_text('address') }} as address,
    {{ day_start(typed_day('installed_on')) }} as created_at,
    {{ day_start(typed_day('installed_on')) }} as updated_at
from {{ source_rows('after_sales', 'installed') }} as installed
union all
select
    {{ record_id('after_sales.visits', 'visit_no') }} as record_id,
    'person' as entity,
    {{ plain_text('customer_name') }} as full_name,
    cast(null as varchar) as province,
    cast(null as varchar) as city,
    cast(null as varchar) as district,
    {{ plain_text('address') }} as address,
    {{ day_start(typed_day('visited_on')) }} as created_at,
    {{ day_start(typed_day('visited_on')) }} as updated_at
from {{ source_rows('after_sales', 'visits') }} as visits
