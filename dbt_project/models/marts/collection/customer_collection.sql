-- Which stages of collection know a customer, and what is most worth asking it next: the first
-- question of policies.yml whose answer nobody has.
with known_by as (
    select
        customer_id,
        {{ is_known_by_stage('basic') }} as has_basic,
        {{ is_known_by_stage('behavioural') }} as has_behavioural,
        {{ is_known_by_stage('active') }} as has_active
    from {{ ref('customer_identifiers') }}
    where learned_to is null
    group by customer_id
),

questions as (
    select
        customer_id,
        {{ first_question('field') }} as next_question,
        {{ first_question('because') }} as next_question_reason
    from {{ ref('customers') }}
)

select
    questions.customer_id,
    coalesce(known_by.has_basic, false) as has_basic,
    coalesce(known_by.has_behavioural, false) as has_behavioural,
    coalesce(known_by.has_active, false) as has_active,
    questions.next_question,
    questions.next_question_reason
from questions
left join known_by on questions.customer_id = known_by.customer_id
