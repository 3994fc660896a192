{{ union_feeds('returns') }}
