-- Visits that repair; installing is on the installed product.
with used_parts as (
    select
        visit_no,
        sum(quantity) as parts
    from {{ source_rows('after_sales', 'parts') }} as used_parts
    group by visit_no
)

select
    'record' as identifier_type,
    {{ record_id('after_sales.visits', 'visits.visit_no') }} as identifier_value,
    visits.visit_no as repair_id,
    visits.serial_no as serial_id,
    visits.partner_code as partner_id,
    case visits.kind when '返修' then 'repeat' else 'repair' end as kind,
    visits.fault_code,
    visits.fault_text as fault,
    visits.result,
    visits.engineer,
    visits.in_warranty = '保内' as is_in_warranty,
    {{ typed_day('visits.reported_on') }} as reported_on,
    {{ typed_day('visits.visited_on') }} as visited_on,
    {{ minor_units('visits.labour_yuan') }} as labour_cents,
    {{ minor_units('visits.parts_yuan') }} as parts_cents,
    cast(coalesce(used_parts.parts, 0) as integer) as parts
from {{ source_rows('after_sales', 'visits') }} as visits
left join used_parts on visits.visit_no = used_parts.visit_no
where visits.kind <> '安装'
