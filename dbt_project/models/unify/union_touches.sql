{{ union_feeds('touches') }}
