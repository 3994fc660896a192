{{ union_feeds('carts') }}
