{{ config(uncompressed='customer_id') }}

-- Working minutes are those of the service calendar (policies.yml, service.calendar): a question of
-- the evening that is answered in the morning has waited since the doors opened.
with talks as (
    select
        source || '-' || case_id as case_key,
        cast(count(*) as integer) as messages,
        cast(count(*) filter (where sender = 'customer') as integer) as customer_messages,
        count(*) filter (where sender = 'customer' and text_key is not null) > 0 as has_text,
        {{ earliest('article_id', 'sent_at') }} filter (where article_id is not null) as article_id
    from {{ ref('union_case_messages') }}
    group by source, case_id
),

cases as (
    select
        cases.*,
        cases.source || '-' || cases.case_id as case_key,
        lag(cases.source || '-' || cases.case_id) over asked as previous_case_key,
        lag(cases.opened_at) over asked as previously_opened_at
    from {{ identified('service_cases') }} as cases
    window asked as (
        partition by coalesce(cases.customer_id, cases.source || '-' || cases.case_id), cases.topic
        order by cases.opened_at, cases.case_id
    )
),

judged as (
    select
        *,
        coalesce(
            opened_at < {{ add_minutes('previously_opened_at', var('repeat_question_days') * 1440) }}, false
        ) as is_repeat_question
    from cases
),

clocked as (
    select
        judged.case_key,
        {{ working_minutes_until('judged.opened_at', 'opening') }} as opened,
        {{ working_minutes_until('judged.first_response_at', 'answering') }} as answered,
        {{ working_minutes_until('judged.resolved_at', 'resolving') }} as resolved,
        {{ working_minutes_until(cutoff(), 'ending') }} as ended
    from judged
    left join {{ ref('count_working_minutes') }} as opening
        on {{ local_day('judged.opened_at') }} = opening.on_day
    left join {{ ref('count_working_minutes') }} as answering
        on {{ local_day('judged.first_response_at') }} = answering.on_day
    left join {{ ref('count_working_minutes') }} as resolving
        on {{ local_day('judged.resolved_at') }} = resolving.on_day
    left join {{ ref('count_working_minutes') }} as ending on {{ local_day(cutoff()) }} = ending.on_day
)

select
    judged.case_key,
    judged.customer_id,
    judged.source,
    judged.case_id,
    judged.channel,
    judged.topic,
    judged.priority,
    judged.status,
    judged.subject,
    judged.agent_id,
    judged.product_serial,
    orders.order_id,
    judged.order_reference,
    coalesce(judged.article_id, talks.article_id) as article_id,
    judged.opened_at,
    {{ local_day('judged.opened_at') }} as opened_on,
    judged.first_response_at,
    judged.resolved_at,
    {{ minutes_between('judged.opened_at', 'judged.first_response_at') }} as first_response_minutes,
    {{ minutes_between('judged.opened_at', 'judged.resolved_at') }} as resolution_minutes,
    cast(clocked.answered - clocked.opened as integer) as first_response_working_minutes,
    cast(clocked.resolved - clocked.opened as integer) as resolution_working_minutes,
    case
        when judged.first_response_at is null and judged.resolved_at is null
            then cast(clocked.ended - clocked.opened as integer)
    end as unanswered_working_minutes,
    coalesce(judged.reopened_count, 0) as reopened_count,
    coalesce(judged.reopened_count, 0) > 0 as is_reopened,
    judged.is_repeat_question,
    case when judged.is_repeat_question then judged.previous_case_key end as repeat_of_case_key,
    coalesce(judged.topic in ({{ texts(var('complaint_topics')) }}), false) as is_complaint,
    judged.satisfaction,
    coalesce(talks.messages, 0) as messages,
    coalesce(talks.customer_messages, 0) as customer_messages,
    case when talks.has_text then judged.text_key end as text_key
from judged
inner join clocked on judged.case_key = clocked.case_key
left join talks on judged.case_key = talks.case_key
left join {{ ref('find_orders') }} as orders on judged.order_reference = orders.order_number
