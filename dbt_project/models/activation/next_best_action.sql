-- The first action of config/audiences.yml whose rule holds for a customer; where it has been measured, the
-- one with the greatest measured effect among the measured ones that hold. What is proven to do harm is left.
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

proofs as (
    select
        cast(null as varchar) as rule,
        cast(null as varchar) as purpose
    where false
    {%- for one in var('next_best_actions') %}
    {%- for purpose in one.measured_by %}
    union all
    select
        '{{ one.name }}' as rule,
        '{{ purpose | replace("'", "''") }}' as purpose
    {%- endfor %}
    {%- endfor %}
),

purposes as (
    select distinct
        purpose,
        purpose_effect,
        purpose_effect_low,
        purpose_effect_high
    from {{ ref('campaign_effect') }}
),

-- Of several purposes that prove one action the surest speaks.
effects as (
    select
        proofs.rule,
        purposes.*
    from proofs
    inner join purposes on proofs.purpose = purposes.purpose
    qualify row_number() over (
        partition by proofs.rule
        order by purposes.purpose_effect_high - purposes.purpose_effect_low, purposes.purpose
    ) = 1
),

harmless as (
    select
        candidates.*,
        effects.purpose,
        effects.purpose_effect,
        effects.purpose_effect_low,
        effects.purpose_effect_high,
        effects.rule is not null as is_measured
    from candidates
    left join effects on candidates.rule = effects.rule
    where effects.rule is null or effects.purpose_effect_high >= 0
),

-- The measured ones take the places that they hold together, the greatest effect the first of them.
placed as (
    select
        harmless.*,
        case
            when harmless.is_measured
                then min(harmless.place) over (partition by harmless.customer_id, harmless.is_measured)
            else harmless.place
        end as best_place
    from harmless
),

chosen as (
    select * from placed
    qualify row_number() over (
        partition by customer_id
        order by best_place asc, purpose_effect desc, place asc
    ) = 1
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
    risk.value_at_risk_cents,
    case when chosen.is_measured then 'measured' else 'rule' end as basis,
    chosen.purpose as measured_by,
    chosen.purpose_effect as measured_effect,
    chosen.purpose_effect_low as measured_effect_low,
    chosen.purpose_effect_high as measured_effect_high
from chosen
left join {{ ref('churn_risk') }} as risk on chosen.customer_id = risk.customer_id
left join {{ ref('channel_preference') }} as preferred
    on chosen.customer_id = preferred.customer_id and preferred.is_best
