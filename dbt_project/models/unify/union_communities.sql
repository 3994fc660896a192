{{ union_feeds('communities') }}
