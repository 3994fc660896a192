select
    {{ record_id('loyalty.members', 'member_no') }} as record_id,
    'person' as entity,
    {{ plain_text('full_name') }} as full_name,
    birthday,
    birthday_calendar,
    gender as sex,
    joined_at as created_at,
    updated_at
from {{ source_rows('loyalty', 'members') }} as members
