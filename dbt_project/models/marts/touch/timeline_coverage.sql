-- Every row of a mart of touches is in the timeline, or it says nobody, or it is no touch.
with held as (
    {% for part in timeline_parts() -%}
    select
        source,
        '{{ part.mart }}' as detail_table,
        cast(count(*) as bigint) as rows_held,
        cast(
            count(*) filter (
                where {{ part.get('customer', 'customer_id') }} is null and {{ is_touch(part) }}
            ) as bigint
        ) as of_nobody,
        cast(count(*) filter (where not coalesce({{ is_touch(part) }}, false)) as bigint) as no_touches
    from {{ ref(part.mart) }}
    group by source
    {% if not loop.last %}union all
    {% endif %}
    {%- endfor %}
),

shown as (
    select
        source,
        detail_table,
        cast(count(*) as bigint) as touchpoints
    from {{ ref('customer_touchpoints') }}
    group by source, detail_table
)

select
    held.source || '-' || held.detail_table as coverage_key,
    held.source,
    held.detail_table,
    held.rows_held,
    held.of_nobody,
    held.no_touches,
    coalesce(shown.touchpoints, 0) as touchpoints
from held
left join shown on held.source = shown.source and held.detail_table = shown.detail_table
