{{ union_feeds('leads') }}
