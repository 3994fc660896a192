{{ union_feeds('knowledge_articles') }}
