{{ union_feeds('organisation_contacts') }}
