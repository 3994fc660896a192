select
    'household_id' as identifier_type,
    cast(household_id as varchar) as identifier_value,
    age as age_band,
    income as income_band,
    home_ownership,
    marital_status,
    household_size,
    household_comp as household_composition,
    kids_count
from {{ source_rows('customer_file', 'demographics') }} as demographics
