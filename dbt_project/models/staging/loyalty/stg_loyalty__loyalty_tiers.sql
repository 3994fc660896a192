select
    tier,
    name,
    min_yearly_spend_fen as from_spend_cents,
    points_per_yuan as points_per_unit,
    benefits
from {{ source_rows('loyalty', 'tiers') }} as tiers
