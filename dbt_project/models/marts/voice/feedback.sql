select
    feedback.source || '-' || feedback.feedback_id as feedback_key,
    feedback.customer_id,
    feedback.source,
    feedback.kind,
    feedback.platform,
    feedback.product_id,
    coalesce(feedback.catalogue, feedback.source) as catalogue,
    orders.order_id,
    feedback.stars,
    feedback.likes,
    feedback.comments,
    feedback.has_reply,
    feedback.text_key is not null as has_text,
    feedback.text_key,
    feedback.given_at,
    {{ local_day('feedback.given_at') }} as given_on
from {{ identified('feedback') }} as feedback
left join {{ ref('find_orders') }} as orders on feedback.order_reference = orders.order_number
