{{ union_feeds('installed_products') }}
