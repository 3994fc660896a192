{{ union_feeds('referrals') }}
