{{ union_feeds('consents') }}
