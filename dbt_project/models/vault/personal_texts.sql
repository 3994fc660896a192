-- What people said in their own words, under the key that marts hold as text_key.
select
    texts.text_id as text_key,
    texts.source,
    texts.kind,
    identified.customer_id,
    texts.said_at,
    texts.body
from {{ ref('union_texts') }} as texts
left join {{ ref('identify_customers') }} as identified
    on
        texts.identifier_type = identified.identifier_type
        and texts.identifier_value = identified.identifier_value
where texts.body is not null
