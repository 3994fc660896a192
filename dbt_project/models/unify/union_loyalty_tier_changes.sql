{{ union_feeds('loyalty_tier_changes') }}
