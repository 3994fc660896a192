{{ union_feeds('loyalty_tiers') }}
