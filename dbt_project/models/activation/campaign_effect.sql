-- What a campaign with a control group drawn by chance moved: the share of customers who bought within
-- the window, addressed less held back, by the arm as assigned whether or not the message arrived. Per
-- purpose the campaigns are pooled, and the purposes are drawn to what all have in common by as much as
-- chance makes them differ (DerSimonian & Laird 1986): the best of many small ones is otherwise the luckiest.
{% set days = var('effect_days') %}
with assigned as (
    select
        audience.campaign_key,
        coalesce(campaigns.objective, campaigns.campaign_type, campaigns.name) as purpose,
        audience.customer_id,
        audience.arm,
        coalesce({{ local_day('audience.assigned_at') }}, campaigns.starts_on) as assigned_on
    from {{ ref('campaign_audiences') }} as audience
    inner join {{ ref('campaigns') }} as campaigns
        on audience.campaign_key = campaigns.campaign_key and campaigns.design = 'random'
    union all
    select
        'own-' || campaign as campaign_key,
        campaign as purpose,
        customer_id,
        arm_assigned as arm,
        assigned_on
    from {{ source('scores', 'last_holdouts') }}
),

-- Who is in both arms, because two customers turned out to be one, tells nothing of either.
arms as (
    select
        campaign_key,
        purpose,
        customer_id,
        min(arm) as arm,
        min(assigned_on) as assigned_on
    from assigned
    where customer_id is not null and arm in ('treat', 'control')
    group by campaign_key, purpose, customer_id
    having min(arm) = max(arm) and {{ add_days('min(assigned_on)', days) }} <= {{ as_of() }}
),

outcomes as (
    select
        arms.campaign_key,
        arms.purpose,
        arms.customer_id,
        arms.arm,
        arms.assigned_on,
        max(case when orders.order_id is not null then 1.0 else 0.0 end) as bought
    from arms
    left join {{ ref('orders') }} as orders
        on
            arms.customer_id = orders.customer_id
            and arms.assigned_on < orders.ordered_on
            and {{ add_days('arms.assigned_on', days) }} >= orders.ordered_on
    group by arms.campaign_key, arms.purpose, arms.customer_id, arms.arm, arms.assigned_on
),

counted as (
    select
        campaign_key,
        purpose,
        min(assigned_on) as first_assigned_on,
        sum(case when arm = 'treat' then 1 else 0 end) as treated,
        sum(case when arm = 'control' then 1 else 0 end) as held_back,
        -- Half a buyer more on each side: an arm in which nobody bought is not certain either.
        (sum(case when arm = 'treat' then bought else 0.0 end) + 0.5)
        / (sum(case when arm = 'treat' then 1 else 0 end) + 1.0) as treated_rate,
        (sum(case when arm = 'control' then bought else 0.0 end) + 0.5)
        / (sum(case when arm = 'control' then 1 else 0 end) + 1.0) as held_back_rate
    from outcomes
    group by campaign_key, purpose
    having
        sum(case when arm = 'treat' then 1 else 0 end) >= {{ var('effect_least') }}
        and sum(case when arm = 'control' then 1 else 0 end) >= {{ var('effect_least') }}
),

measured as (
    select
        counted.*,
        counted.treated_rate - counted.held_back_rate as effect,
        counted.treated_rate * (1.0 - counted.treated_rate) / counted.treated
        + counted.held_back_rate * (1.0 - counted.held_back_rate) / counted.held_back as variance
    from counted
),

purposes as (
    select
        purpose,
        sum(effect / variance) / sum(1.0 / variance) as effect,
        1.0 / sum(1.0 / variance) as variance
    from measured
    group by purpose
),

common as (
    select
        sum(effect / variance) / sum(1.0 / variance) as effect,
        count(*) - 1.0 as freedom,
        sum(1.0 / variance) as weight,
        sum(1.0 / (variance * variance)) as squared_weight
    from purposes
),

spread as (
    select
        common.effect,
        1.0 / common.weight as variance,
        case when common.freedom > 0 then greatest(
            0.0,
            (sum(
                (purposes.effect - common.effect) * (purposes.effect - common.effect) / purposes.variance
            ) - common.freedom) / (common.weight - common.squared_weight / common.weight)
        ) end as between_purposes
    from purposes
    cross join common
    group by common.effect, common.weight, common.squared_weight, common.freedom
),

-- One purpose alone has nothing to be drawn to.
shared as (
    select
        purposes.*,
        spread.effect as common_effect,
        spread.variance as common_variance,
        case
            when spread.between_purposes is null then 0.0
            else purposes.variance / (purposes.variance + spread.between_purposes)
        end as common_share
    from purposes
    cross join spread
),

drawn as (
    select
        purpose,
        effect + (common_effect - effect) * common_share as effect,
        variance * (1.0 - common_share) + common_share * common_share * common_variance as variance
    from shared
)

select
    measured.campaign_key,
    measured.purpose,
    measured.first_assigned_on,
    cast(measured.treated as bigint) as treated,
    cast(measured.held_back as bigint) as held_back,
    round(measured.treated_rate, 6) as treated_rate,
    round(measured.held_back_rate, 6) as held_back_rate,
    round(measured.effect, 6) as effect,
    round(measured.effect - 1.96 * sqrt(measured.variance), 6) as effect_low,
    round(measured.effect + 1.96 * sqrt(measured.variance), 6) as effect_high,
    round(drawn.effect, 6) as purpose_effect,
    round(drawn.effect - 1.96 * sqrt(drawn.variance), 6) as purpose_effect_low,
    round(drawn.effect + 1.96 * sqrt(drawn.variance), 6) as purpose_effect_high,
    {{ as_of() }} as as_of
from measured
inner join drawn on measured.purpose = drawn.purpose
