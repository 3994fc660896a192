select
    'record' as identifier_type,
    {{ record_id('crm.leads', 'lead_id') }} as identifier_value,
    cast(lead_id as varchar) as lead_id,
    {{ record_id('crm.leads', 'lead_id') }} as record_id,
    source as origin,
    product_line,
    {{ minor_units('budget_yuan') }} as budget_cents,
    status,
    cast(sales_id as varchar) as sales_id,
    created_at,
    assigned_at,
    first_contact_at,
    converted_at
from {{ source_rows('crm', 'leads') }} as leads
