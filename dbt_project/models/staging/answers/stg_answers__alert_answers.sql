select
    alert_id,
    answer,
    answered_at,
    answered_by
from {{ source_rows('answers', 'alert_answers') }} as answers
