select
    source || '-' || response_id as response_key,
    customer_id,
    source,
    kind,
    survey_id,
    survey_name,
    tier,
    channel,
    nps,
    case when nps >= 9 then 'promoter' when nps >= 7 then 'passive' when nps >= 0 then 'detractor' end
        as nps_group,
    csat,
    topics,
    text_key is not null as has_text,
    text_key,
    given_at,
    {{ local_day('given_at') }} as given_on
from {{ identified('survey_responses') }} as responses
