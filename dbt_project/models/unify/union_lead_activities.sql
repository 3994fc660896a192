{{ union_feeds('lead_activities') }}
