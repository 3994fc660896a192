-- What was said in interviews, by both.
select
    'record' as identifier_type,
    {{ record_id('voice.interviews', 'interview_id') }} as identifier_value,
    {{ record_id('voice.interviews', 'interview_id') }} as text_id,
    'interview' as kind,
    held_at as said_at,
    transcript as body
from {{ source_rows('voice', 'interviews') }} as interviews
where transcript is not null
