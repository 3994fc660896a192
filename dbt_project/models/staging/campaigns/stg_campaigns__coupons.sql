select
    {{ piece('contact_id') }} as piece,
    'record' as identifier_type,
    {{ record_id('campaigns.contacts', 'contact_id') }} as identifier_value,
    cast(campaign_id as varchar) as campaign_id,
    coupon_code as coupon_id,
    value_fen as value_cents,
    min_spend_fen as min_spend_cents,
    status,
    issued_at,
    valid_until
from {{ source_rows('campaigns', 'coupons', piece='contact_id') }} as coupons
