{{ union_feeds('events') }}
