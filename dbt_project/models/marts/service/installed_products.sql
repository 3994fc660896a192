{{ config(uncompressed='customer_id') }}

with repaired as (
    select
        source,
        serial_id,
        cast(count(*) as integer) as repairs,
        max(visited_on) as last_repaired_on,
        {{ latest('fault', 'visited_on') }} filter (where fault is not null) as last_fault
    from {{ ref('repairs') }}
    group by source, serial_id
)

select
    products.source || '-' || products.serial_id as product_key,
    products.customer_id,
    products.source,
    products.serial_id,
    products.product_id,
    coalesce(products.catalogue, products.source) as catalogue,
    products.model,
    products.batch,
    products.partner_id,
    products.purchase_channel,
    orders.order_id,
    products.order_reference,
    products.installed_on,
    products.warranty_until,
    coalesce(products.warranty_until >= {{ as_of() }}, false) as is_in_warranty,
    coalesce(repaired.repairs, 0) as repairs,
    repaired.last_repaired_on,
    repaired.last_fault
from {{ identified('installed_products') }} as products
left join repaired on products.source = repaired.source and products.serial_id = repaired.serial_id
left join {{ ref('find_orders') }} as orders on products.order_reference = orders.order_number
