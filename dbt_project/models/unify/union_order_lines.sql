{{ union_feeds('order_lines') }}
