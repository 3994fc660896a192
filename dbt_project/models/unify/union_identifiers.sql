{{ union_feeds('identifiers') }}
