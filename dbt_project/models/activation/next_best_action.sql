-- The first action of config/audiences.yml whose rule holds for a customer.
with candidates as (
    select
        cast(null as varchar) as customer_id,
        cast(null as integer) as place,
        cast(null as varchar) as rule,
        cast(null as varchar) as action,
        cast(null as varchar) as reason,
        cast(null as varchar) as owner,
        cast(null as varchar) as channel
    where false
    {%- for one in var('next_best_actions') %}
    union all
    select
        customer_id,
        {{ loop.index }} as place,
        '{{ one.name }}' as rule,
        '{{ one.action | replace("'", "''") }}' as action,
        '{{ one.reason | replace("'", "''") }}' as reason,
        '{{ one.owner | replace("'", "''") }}' as owner,
        nullif('{{ one.channel }}', '') as channel
    from {{ ref('gather_customers') }}
    where {{ one.rule }}
    {%- endfor %}
),

chosen as (
    select * from candidates
    qualify row_number() over (partition by customer_id order by place) = 1
)

select
    chosen.customer_id,
    {{ as_of() }} as as_of,
    chosen.rule,
    chosen.action,
    chosen.reason,
    chosen.owner,
    coalesce(chosen.channel, preferred.channel) as channel,
    preferred.best_from_hour as from_hour,
    risk.value_at_risk_cents
from chosen
left join {{ ref('churn_risk') }} as risk on chosen.customer_id = risk.customer_id
left join {{ ref('channel_preference') }} as preferred
    on chosen.customer_id = preferred.customer_id and preferred.is_best
