{{ union_feeds('product_prices') }}
