with known as (
    select
        record_id,
        unnest(known, recursive := true),
        first_seen_at,
        last_seen_at
    from (
        select
            {{ record_id('campaigns.contacts', 'contact_id') }} as record_id,
            [
                {'kind': 'member_no', 'value': member_no, 'is_verified': false},
                {'kind': 'openid', 'value': openid, 'is_verified': true},
                {'kind': 'phone', 'value': {{ real_phone('mobile') }}, 'is_verified': false},
                {'kind': 'email', 'value': {{ real_email('email') }}, 'is_verified': false}
            ] as known,
            created_at as first_seen_at,
            updated_at as last_seen_at
        from {{ source_rows('campaigns', 'contacts') }} as contacts
    ) as records
)

select
    record_id,
    kind,
    value as value_normalised,
    is_verified,
    first_seen_at,
    last_seen_at
from known
where value is not null
