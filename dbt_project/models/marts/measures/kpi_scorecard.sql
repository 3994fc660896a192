-- Every measure of metrics.yml in every month; a month in which nothing was counted has its row too.
{%- set definitions = var('metrics') %}
{%- set names = definitions.measures.keys() | list %}
with sums as (
    select * from (
        {{ metric_sums(definitions, names) }}
    ) as counted
    where month <= {{ as_of() }}
),

measures as (
    {%- for name, measure in definitions.measures.items() %}
    select
        '{{ name }}' as measure,
        '{{ measure.unit }}' as unit,
        {{ 'true' if measure.denominator is defined else 'false' }} as has_denominator
    union all
    {%- endfor %}
    select
        cast(null as varchar) as measure,
        cast(null as varchar) as unit,
        cast(null as boolean) as has_denominator
    where false
),

months as (
    {{ months_from('(select min(month) from sums)', first_of_month(as_of())) }}
)

select
    months.month,
    measures.measure,
    measures.unit,
    sums.numerator,
    sums.denominator,
    {{ metric_value('measures.has_denominator', 'sums.numerator', 'sums.denominator') }} as value,
    {{ last_of_month('months.month') }} <= {{ as_of() }} as is_complete
from months
cross join measures
left join sums
    on
        months.month = sums.month
        and measures.measure = sums.measure
