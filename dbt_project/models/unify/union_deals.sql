{{ union_feeds('deals') }}
