-- The age as members gave it, in bands; the year alone is good enough whatever the calendar.
with members as (
    select
        member_no,
        tier,
        {{ as_of_year() }}
        - try_cast(regexp_extract({{ half_width('birthday') }}, '(19|20)[0-9][0-9]') as integer)
            as age
    from {{ source_rows('loyalty', 'members') }} as members
)

select
    'record' as identifier_type,
    {{ record_id('loyalty.members', 'member_no') }} as identifier_value,
    case
        when age between 16 and 24 then '16-24'
        when age between 25 and 34 then '25-34'
        when age between 35 and 44 then '35-44'
        when age between 45 and 54 then '45-54'
        when age between 55 and 64 then '55-64'
        when age between 65 and 100 then '65+'
    end as age_band,
    tier as loyalty_tier
from members
