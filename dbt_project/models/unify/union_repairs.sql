{{ union_feeds('repairs') }}
