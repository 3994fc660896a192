-- Accounts, and each address of their books, since it often names somebody else.
select
    {{ record_id('shop.accounts', 'account_id') }} as record_id,
    'person' as entity,
    {{ plain_text('real_name') }} as full_name,
    cast(birthday as varchar) as birthday,
    nullif(gender, 'U') as sex,
    cast(null as varchar) as province,
    cast(null as varchar) as city,
    cast(null as varchar) as district,
    cast(null as varchar) as address,
    registered_at as created_at,
    updated_at
from {{ source_rows('shop', 'accounts') }} as accounts
union all
select
    {{ record_id('shop.addresses', 'address_id') }} as record_id,
    'person' as entity,
    {{ plain_text('consignee') }} as full_name,
    cast(null as varchar) as birthday,
    cast(null as varchar) as sex,
    province,
    city,
    district,
    {{ plain_text('detail') }} as address,
    created_at,
    updated_at
from {{ source_rows('shop', 'addresses') }} as addresses
