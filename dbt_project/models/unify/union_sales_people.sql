{{ union_feeds('sales_people') }}
