{{ config(
    materialized='incremental',
    piece="touchpoint_id",
    fed_by=timeline_pieces(),
    order_by='customer_id, occurred_at'
) }}

-- The parts stand in macros/timeline.sql. A cancelled order is no touch; its cart and its tickets are.
{% for part in timeline_parts() -%}
select
    '{{ part.prefix }}-' || {{ part.key }} as touchpoint_id,
    {{ part.get('customer', 'customer_id') }} as customer_id,
    {{ part['at'] }} as occurred_at,
    {{ part.get('on', local_day(part['at'])) }} as occurred_on,
    {{ part.channel }} as channel,
    {{ part.direction }} as direction,
    {{ part.kind }} as kind,
    {{ part.subject }} as subject,
    cast({{ part.get('amount', 'null') }} as bigint) as amount_cents,
    cast(null as double) as sentiment,
    cast({{ part.get('text', 'null') }} as varchar) as text_key,
    cast({{ part.get('agent', 'null') }} as varchar) as agent_id,
    source,
    '{{ part.mart }}' as detail_table,
    {{ part.key }} as source_key
from {{ rows_of(part.mart) }}
where {{ part.get('customer', 'customer_id') }} is not null and {{ is_touch(part) }}
{% if not loop.last %}union all
{% endif %}
{%- endfor %}
