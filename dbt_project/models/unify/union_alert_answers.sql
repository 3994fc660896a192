{{ union_feeds('alert_answers') }}
