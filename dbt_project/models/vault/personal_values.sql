-- Every personal value by its token: those of golden records and their rivals, and all identifiers that
-- are published as tokens.
select distinct
    token,
    attribute as kind,
    value
from {{ ref('rank_attribute_values') }}
where token is not null
union
select
    {{ personal_token('kind', 'value') }} as token,
    kind,
    value
from (
    select distinct
        kind,
        value
    from {{ source('identity', 'customer_identifiers') }}
    where {{ is_personal_identifier('kind') }}
    union
    select distinct
        identifier_type as kind,
        identifier_value as value
    from {{ ref('identifier_sightings') }}
    where {{ is_personal_identifier('identifier_type') }}
) as identifiers
where value is not null
