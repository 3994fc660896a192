select
    'record' as identifier_type,
    case
        when person_no is not null then {{ record_id('crm.persons', 'person_no') }}
        else {{ record_id('crm.organisations', 'org_no') }}
    end as identifier_value,
    cast(deal_id as varchar) as deal_id,
    product_line,
    stage,
    {{ minor_units('amount_yuan') }} as amount_cents,
    lost_reason,
    cast(sales_id as varchar) as sales_id,
    opened_at,
    expected_close_on,
    closed_at
from {{ source_rows('crm', 'deals') }} as deals
