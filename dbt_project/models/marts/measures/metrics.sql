-- The definitions of metrics.yml, beside the numbers that were made with them.
{% for name, measure in var('metrics').measures.items() %}
select
    '{{ name }}' as measure,
    '{{ measure.title | replace("'", "''") }}' as title,
    '{{ measure.says | trim | replace("'", "''") }}' as says,
    '{{ measure.unit }}' as unit,
    '{{ measure.better }}' as better,
    '{{ measure.owner }}' as owner,
    date '{{ measure.since }}' as since,
    date '{{ measure.changed }}' as changed
union all
{% endfor %}
select
    cast(null as varchar) as measure,
    cast(null as varchar) as title,
    cast(null as varchar) as says,
    cast(null as varchar) as unit,
    cast(null as varchar) as better,
    cast(null as varchar) as owner,
    cast(null as date) as since,
    cast(null as date) as changed
where false
