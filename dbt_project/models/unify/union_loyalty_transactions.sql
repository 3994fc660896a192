{{ union_feeds('loyalty_transactions') }}
