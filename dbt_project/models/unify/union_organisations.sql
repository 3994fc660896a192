{{ union_feeds('organisations') }}
