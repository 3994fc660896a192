{{ union_feeds('person_records') }}
