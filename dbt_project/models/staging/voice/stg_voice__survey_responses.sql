-- Answers to surveys, and interviews.
select
    'record' as identifier_type,
    {{ record_id('voice.responses', 'responses.response_id') }} as identifier_value,
    'survey-' || cast(responses.response_id as varchar) as response_id,
    'survey' as kind,
    responses.survey_id,
    surveys.name as survey_name,
    coalesce(responses.tier, surveys.tier) as tier,
    surveys.channel,
    responses.nps,
    responses.csat,
    cast(null as varchar) as topics,
    case
        when responses.comment is not null then {{ record_id('voice.responses', 'responses.response_id') }}
    end as text_key,
    responses.submitted_at as given_at
from {{ source_rows('voice', 'responses') }} as responses
left join {{ source_rows('voice', 'surveys') }} as surveys on responses.survey_id = surveys.survey_id
union all
select
    'record' as identifier_type,
    {{ record_id('voice.interviews', 'interview_id') }} as identifier_value,
    'interview-' || cast(interview_id as varchar) as response_id,
    'interview' as kind,
    cast(null as varchar) as survey_id,
    cast(null as varchar) as survey_name,
    'interview' as tier,
    'interview' as channel,
    cast(null as integer) as nps,
    cast(null as integer) as csat,
    topics,
    case when transcript is not null then {{ record_id('voice.interviews', 'interview_id') }} end as text_key,
    held_at as given_at
from {{ source_rows('voice', 'interviews') }} as interviews
