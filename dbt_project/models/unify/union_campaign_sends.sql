{{ union_feeds('campaign_sends') }}
