-- What sales people did with a person.
select
    'record' as identifier_type,
    {{ record_id('crm.persons', 'person_no') }} as identifier_value,
    'crm-activity-' || cast(activity_id as varchar) as touch_id,
    'sales' as kind,
    case kind
        when '电话' then 'phone' when '微信' then 'wechat' when '邮件' then 'email' else 'visit'
    end as channel,
    case when kind = '到店接待' then 'inbound' else 'outbound' end as direction,
    subject,
    happened_at as occurred_at,
    cast(sales_id as varchar) as agent_id
from {{ source_rows('crm', 'activities') }} as activities
where person_no is not null
