{{ union_feeds('community_memberships') }}
