-- Degrees and weights say how well two records agree, never what stands in them.
select
    record_l,
    record_r,
    rule,
    kinds,
    verdict,
    together,
    probability,
    weight,
    cast(to_json(reasons) as varchar) as reasons,
    against
from {{ source('identity', 'identity_links') }}
