select
    source || '-' || tier as tier_key,
    source,
    tier,
    name,
    from_spend_cents,
    points_per_unit,
    benefits
from {{ ref('union_loyalty_tiers') }}
