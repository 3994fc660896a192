-- The golden record, attribute by attribute. Values of a person stand in the vault under their token.
select
    customer_id,
    attribute,
    case when token is null then value end as value,
    token,
    detail,
    source,
    record_id,
    observed_at,
    is_verified,
    rule,
    confidence,
    candidates - 1 as rivals
from {{ ref('rank_attribute_values') }}
where place = 1
