select
    {{ record_id('crm.organisations', 'org_no') }} as record_id,
    {{ record_id('crm.organisations', 'parent_org_no') }} as parent_record_id,
    industry,
    scale,
    level,
    credit_code,
    cast(sales_id as varchar) as sales_id
from {{ source_rows('crm', 'organisations') }} as organisations
