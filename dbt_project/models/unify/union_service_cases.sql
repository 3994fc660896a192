{{ union_feeds('service_cases') }}
