select
    case_key,
    customer_id,
    topic,
    topic_probability,
    urgency,
    urgency_probability,
    route,
    article_id,
    article_score,
    similar_cases
from {{ source('engagement', 'ticket_suggestions') }}
