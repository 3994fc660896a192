{{ union_feeds('case_messages') }}
