{{ union_feeds('repair_parts') }}
