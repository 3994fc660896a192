{{ union_feeds('loyalty_accounts') }}
