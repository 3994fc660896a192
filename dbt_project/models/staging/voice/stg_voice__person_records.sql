select
    {{ record_id('voice.responses', 'response_id') }} as record_id,
    'person' as entity,
    {{ plain_text('respondent_name') }} as full_name,
    cast(null as varchar) as city,
    submitted_at as created_at,
    submitted_at as updated_at
from {{ source_rows('voice', 'responses') }} as responses
union all
select
    {{ record_id('voice.interviews', 'interview_id') }} as record_id,
    'person' as entity,
    {{ plain_text('full_name') }} as full_name,
    city,
    held_at as created_at,
    held_at as updated_at
from {{ source_rows('voice', 'interviews') }} as interviews
