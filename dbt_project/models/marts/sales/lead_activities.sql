select
    source || '-' || activity_id as activity_key,
    customer_id,
    source,
    source || '-' || lead_id as lead_key,
    source || '-' || deal_id as deal_key,
    sales_id,
    channel,
    direction,
    subject,
    text_key,
    occurred_at,
    {{ local_day('occurred_at') }} as occurred_on
from {{ identified('lead_activities') }} as activities
