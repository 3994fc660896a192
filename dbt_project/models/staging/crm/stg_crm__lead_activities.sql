-- Whom it was with: the person, else the lead, else the organisation.
select
    'record' as identifier_type,
    case
        when person_no is not null then {{ record_id('crm.persons', 'person_no') }}
        when lead_id is not null then {{ record_id('crm.leads', 'lead_id') }}
        else {{ record_id('crm.organisations', 'org_no') }}
    end as identifier_value,
    cast(activity_id as varchar) as activity_id,
    cast(lead_id as varchar) as lead_id,
    cast(deal_id as varchar) as deal_id,
    cast(sales_id as varchar) as sales_id,
    case kind
        when '电话' then 'phone' when '微信' then 'wechat' when '邮件' then 'email' when '到店接待' then 'store'
        else 'visit'
    end as channel,
    case when kind = '到店接待' then 'inbound' else 'outbound' end as direction,
    subject,
    case when note is not null then {{ record_id('crm.activities', 'activity_id') }} end as text_key,
    happened_at as occurred_at
from {{ source_rows('crm', 'activities') }} as activities
