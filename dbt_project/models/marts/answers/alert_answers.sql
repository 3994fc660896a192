select
    source,
    alert_id,
    answer,
    answered_at,
    {{ local_day('answered_at') }} as answered_on,
    answered_by
from {{ ref('union_alert_answers') }}
