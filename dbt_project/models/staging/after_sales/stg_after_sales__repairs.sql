-- Visits that repair; those that install are touches.
select
    'record' as identifier_type,
    {{ record_id('after_sales.visits', 'visit_no') }} as identifier_value,
    visit_no as repair_id,
    serial_no as serial_id,
    partner_code as partner_id,
    case kind when '返修' then 'return' else 'repair' end as kind,
    fault_code,
    fault_text as fault,
    result,
    engineer,
    in_warranty = '保内' as is_in_warranty,
    {{ typed_day('reported_on') }} as reported_on,
    {{ typed_day('visited_on') }} as visited_on,
    {{ minor_units('labour_yuan') }} as labour_cents,
    {{ minor_units('parts_yuan') }} as parts_cents
from {{ source_rows('after_sales', 'visits') }} as visits
where kind is distinct from '安装'
