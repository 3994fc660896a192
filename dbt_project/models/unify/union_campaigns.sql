{{ union_feeds('campaigns') }}
