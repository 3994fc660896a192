{{ union_feeds('customer_profiles') }}
