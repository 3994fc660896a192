select
    month,
    kind,
    owner,
    raised,
    answered,
    done,
    wrong,
    later,
    adoption_share
from {{ source('engagement', 'alert_adoption') }}
