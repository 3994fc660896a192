{{ union_feeds('stores') }}
