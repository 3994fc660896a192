{{ config(materialized='table', schema='unify') }}

-- Which record is which customer: the member number; else the one member who is known by the same
-- number, WeChat id or e-mail; else the strongest identifier of the record's own. This is the one
-- place where records become customers.
with known as (
    select
        record_id,
        kind,
        value_normalised
    from {{ ref('union_identifiers') }}
),

strongest as (
    select
        record_id,
        min(value_normalised) filter (where kind = 'member_no') as member_no,
        min(value_normalised) filter (where kind = 'phone') as phone,
        min(value_normalised) filter (where kind = 'unionid') as unionid,
        min(value_normalised) filter (where kind = 'openid') as openid,
        min(value_normalised) filter (where kind = 'email') as email
    from known
    group by record_id
),

-- A number that two members share says nothing about a third record.
members as (
    select
        known.kind,
        known.value_normalised,
        min(strongest.member_no) as member_no
    from known
    inner join strongest on known.record_id = strongest.record_id
    where known.kind in ('phone', 'unionid', 'openid', 'email') and strongest.member_no is not null
    group by known.kind, known.value_normalised
    having count(distinct strongest.member_no) = 1
),

linked as (
    select
        known.record_id,
        min(members.member_no) as member_no
    from known
    inner join members
        on
            known.kind = members.kind
            and known.value_normalised = members.value_normalised
    group by known.record_id
)

select
    records.record_id,
    {{ customer_of("coalesce(
        'member_no:' || strongest.member_no,
        'member_no:' || linked.member_no,
        'phone:' || strongest.phone,
        'unionid:' || strongest.unionid,
        'openid:' || strongest.openid,
        'email:' || strongest.email,
        'record:' || records.record_id
    )") }} as customer_id,
    records.source,
    records.entity
from {{ ref('union_person_records') }} as records
left join strongest on records.record_id = strongest.record_id
left join linked on records.record_id = linked.record_id
