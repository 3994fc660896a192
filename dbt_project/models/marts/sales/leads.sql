select
    leads.source || '-' || leads.lead_id as lead_key,
    leads.customer_id,
    leads.source,
    leads.lead_id,
    leads.origin,
    places.province_code,
    places.city_code,
    leads.product_line,
    leads.budget_cents,
    leads.status,
    leads.sales_id,
    leads.created_at,
    {{ local_day('leads.created_at') }} as created_on,
    leads.assigned_at,
    leads.first_contact_at,
    leads.converted_at,
    {{ local_day('leads.converted_at') }} as converted_on,
    leads.converted_at is not null as is_converted,
    {{ minutes_between('leads.created_at', 'leads.first_contact_at') }} as first_contact_minutes,
    {{ days_between(local_day('leads.created_at'), local_day('leads.converted_at')) }} as cycle_days
from {{ identified('leads') }} as leads
left join {{ ref('locate_records') }} as places on leads.record_id = places.record_id
