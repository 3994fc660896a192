select
    'unionid' as identifier_type,
    inviter_unionid as identifier_value,
    cast(referral_id as varchar) as referral_id,
    'unionid' as invitee_type,
    invitee_unionid as invitee_value,
    programme,
    reward_points,
    invite_time as invited_at,
    converted_time as converted_at
from {{ source_rows('wechat', 'referrals') }} as referrals
