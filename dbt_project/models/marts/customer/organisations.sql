-- An organisation may stand in several records; the one that was changed last speaks for it.
with said as (
    select
        records.customer_id,
        feeds.*,
        parents.customer_id as parent_customer_id
    from {{ ref('union_organisations') }} as feeds
    inner join {{ ref('customer_records') }} as records on feeds.record_id = records.record_id
    left join {{ ref('customer_records') }} as parents on feeds.parent_record_id = parents.record_id
    qualify row_number() over (partition by records.customer_id order by feeds.record_id desc) = 1
),

contacts as (
    select
        organisation_id,
        cast(count(*) as integer) as contacts,
        cast(sum(case when is_decision_maker then 1 else 0 end) as integer) as decision_makers
    from {{ ref('organisation_contacts') }}
    group by organisation_id
)

select
    customers.customer_id as organisation_id,
    customers.name_token,
    said.credit_code,
    said.industry,
    said.scale,
    said.level,
    case when said.parent_customer_id <> customers.customer_id then said.parent_customer_id end
        as parent_organisation_id,
    said.sales_id,
    customers.province_code,
    customers.city_code,
    customers.records,
    coalesce(contacts.contacts, 0) as contacts,
    coalesce(contacts.decision_makers, 0) as decision_makers,
    customers.first_seen_on,
    customers.last_seen_on
from {{ ref('customers') }} as customers
left join said on customers.customer_id = said.customer_id
left join contacts on customers.customer_id = contacts.organisation_id
where customers.is_organisation
