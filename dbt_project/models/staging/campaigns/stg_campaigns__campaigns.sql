select
    cast(campaign_id as varchar) as campaign_id,
    kind as campaign_type,
    name,
    channel,
    objective,
    design,
    holdout_share,
    coupon_value_fen as coupon_value_cents,
    coupon_min_fen as coupon_min_spend_cents,
    fixed_cost_fen as fixed_cost_cents,
    cost_per_send_fen as send_cost_cents,
    status,
    {{ local_day('starts_at') }} as starts_on,
    {{ local_day('ends_at') }} as ends_on,
    starts_at,
    ends_at
from {{ source_rows('campaigns', 'campaigns') }} as campaigns
