{{ identifiers_of(
    source_rows('wechat', 'followers'),
    record_id('wechat.followers', 'openid'),
    [
        ['openid', 'openid', 'true'],
        ['unionid', 'unionid', 'true'],
        ['member_no', 'bound_member_no', 'true'],
        ['phone', real_phone('bound_mobile'), 'true'],
    ],
    'subscribe_time',
    'coalesce(unsubscribe_time, subscribe_time)'
) }}
