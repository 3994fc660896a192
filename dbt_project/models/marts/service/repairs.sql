-- A fault is a repeat where the same appliance had the same fault repaired in the days before
-- (policies.yml, service.repeat_fault_days), whatever the partner calls the visit.
with used_parts as (
    select
        source,
        repair_id,
        cast(sum(quantity) as integer) as parts
    from {{ ref('union_repair_parts') }}
    group by source, repair_id
),

repairs as (
    select
        repairs.*,
        repairs.source || '-' || repairs.repair_id as repair_key,
        lag(repairs.source || '-' || repairs.repair_id) over fault as previous_repair_key,
        lag(repairs.visited_on) over fault as previously_visited_on
    from {{ identified('repairs') }} as repairs
    window fault as (
        partition by repairs.source, coalesce(repairs.serial_id, repairs.repair_id), repairs.fault_code
        order by repairs.visited_on, repairs.repair_id
    )
),

judged as (
    select
        *,
        coalesce(
            fault_code is not null
            and visited_on <= {{ add_days('previously_visited_on', var('repeat_fault_days')) }}, false
        ) as is_repeat_fault
    from repairs
)

select
    judged.repair_key,
    judged.customer_id,
    judged.source,
    judged.repair_id,
    judged.serial_id,
    products.batch,
    products.product_id,
    judged.partner_id,
    judged.kind,
    judged.fault_code,
    judged.fault,
    judged.is_repeat_fault,
    case when judged.is_repeat_fault then judged.previous_repair_key end as repeat_of_repair_key,
    judged.result,
    judged.engineer,
    judged.is_in_warranty,
    judged.reported_on,
    judged.visited_on,
    {{ days_between('judged.reported_on', 'judged.visited_on') }} as waiting_days,
    judged.labour_cents,
    judged.parts_cents,
    coalesce(used_parts.parts, 0) as parts
from judged
left join {{ ref('union_installed_products') }} as products
    on judged.source = products.source and judged.serial_id = products.serial_id
left join used_parts on judged.source = used_parts.source and judged.repair_id = used_parts.repair_id
