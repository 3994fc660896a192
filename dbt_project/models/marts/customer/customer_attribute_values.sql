-- What was claimed and did not win stands here beside what did: conflicts are visible.
select
    customer_id,
    attribute,
    place,
    case when token is null then value end as value,
    token,
    source,
    record_id,
    observed_at,
    is_verified,
    records,
    sources,
    place = 1 as is_chosen
from {{ ref('rank_attribute_values') }}
where candidates > 1
