-- What people said and wrote in their own words, under the key that marts hold as text_key.
select
    texts.text_id as text_key,
    texts.source,
    texts.kind,
    identified.customer_id,
    texts.said_at,
    texts.body
from (
    select
        text_id,
        source,
        kind,
        identifier_type,
        identifier_value,
        said_at,
        body
    from {{ ref('union_texts') }}
    union all
    select
        text_id,
        source,
        kind,
        identifier_type,
        identifier_value,
        said_at,
        body
    from {{ ref('union_notes') }}
) as texts
left join {{ ref('identify_customers') }} as identified
    on
        texts.identifier_type = identified.identifier_type
        and texts.identifier_value = identified.identifier_value
where texts.body is not null
