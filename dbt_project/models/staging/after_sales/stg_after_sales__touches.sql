-- Visits that install.
select
    'record' as identifier_type,
    {{ record_id('after_sales.visits', 'visit_no') }} as identifier_value,
    visit_no as touch_id,
    'visit' as kind,
    'visit' as channel,
    'outbound' as direction,
    'installed an appliance' as subject,
    {{ day_start(typed_day('visited_on')) }} as occurred_at,
    partner_code as agent_id
from {{ source_rows('after_sales', 'visits') }} as visits
where kind = '安装'
