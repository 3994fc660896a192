{{ union_feeds('campaign_responses') }}
