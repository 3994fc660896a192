{{ union_feeds('cart_lines') }}
