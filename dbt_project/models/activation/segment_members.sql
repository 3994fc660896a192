-- Every segment of config/audiences.yml; its rule is a condition on a row of customer_360.
{%- for segment in var('segments') %}
select
    customer_id,
    '{{ segment.name }}' as segment
from {{ ref('customer_360') }}
where {{ segment.rule }}
{{ "union all" if not loop.last }}
{%- endfor %}
{%- if not var('segments') %}
select
    customer_id,
    cast(null as varchar) as segment
from {{ ref('customer_360') }}
where false
{%- endif %}
