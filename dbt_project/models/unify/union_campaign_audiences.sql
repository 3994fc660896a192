{{ union_feeds('campaign_audiences') }}
