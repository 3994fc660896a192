{{ identifiers_of(
    source_rows('campaigns', 'contacts'),
    record_id('campaigns.contacts', 'contact_id'),
    [
        ['member_no', 'member_no', 'false'],
        ['openid', 'openid', 'true'],
        ['phone', real_phone('mobile'), 'false'],
        ['email', real_email('email'), 'false'],
    ],
    'created_at',
    'updated_at'
) }}
