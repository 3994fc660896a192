{{ union_feeds('service_agents') }}
