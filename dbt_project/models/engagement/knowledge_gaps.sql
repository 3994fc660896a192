select
    gap_id,
    topic,
    cases,
    first_on,
    last_on,
    example_case_key
from {{ source('engagement', 'knowledge_gaps') }}
