-- Touches that are rows of no other mart: visits that install, and what a source of your own feeds as
-- stg_<source>__touches.
select
    source || '-' || touch_id as touch_key,
    customer_id,
    source,
    kind,
    channel,
    direction,
    subject,
    agent_id,
    occurred_at,
    {{ local_day('occurred_at') }} as occurred_on
from {{ identified('touches') }} as touches
