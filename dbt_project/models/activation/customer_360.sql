{{ config(uncompressed='customer_id') }}

-- One wide row a customer, in the order and the groups of the YAML. What to do next follows from the rest.
select
    gathered.*,
    actions.action as next_action,
    actions.reason as next_action_reason,
    actions.owner as next_action_owner,
    actions.channel as next_action_channel
from {{ ref('gather_customers') }} as gathered
left join {{ ref('next_best_action') }} as actions on gathered.customer_id = actions.customer_id
