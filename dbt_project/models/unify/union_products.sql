{{ union_feeds('products') }}
