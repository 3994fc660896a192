{{ union_feeds('orders') }}
