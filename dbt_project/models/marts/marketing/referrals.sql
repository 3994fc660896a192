select
    referrals.source || '-' || referrals.referral_id as referral_key,
    referrals.customer_id as inviter_customer_id,
    invitees.customer_id as invitee_customer_id,
    referrals.source,
    referrals.programme,
    referrals.reward_points,
    referrals.invited_at,
    {{ local_day('referrals.invited_at') }} as invited_on,
    referrals.converted_at,
    referrals.converted_at is not null as is_converted
from {{ identified('referrals') }} as referrals
left join {{ ref('identify_customers') }} as invitees
    on
        referrals.invitee_type = invitees.identifier_type
        and referrals.invitee_value = invitees.identifier_value
