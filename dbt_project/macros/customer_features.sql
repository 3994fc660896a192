{#-
  The purchase features of a customer as of a date: the one definition of them.

  The mart `customer_features` renders this through dbt; `customer360.scoring.features` renders the
  same text through Jinja alone, so that any table of transactions is scored with the same SQL.
  What is not the same in every engine stands in the dispatched macros at the end.

  orders   one row an order: customer_id, ordered_on DATE, amount_cents BIGINT, quantity.
           An order below zero is a refund: it lowers the spend and is no visit.
  origins  as_of DATE; one row a date. Only orders with ordered_on <= as_of are seen.
  Result   one row an (as_of, customer_id) that had bought by then.

  Cost: orders are added up by customer and day; what lies more than 52 weeks before the first
  origin is one row a customer, and only the rest is sorted and joined to each origin.
-#}
{% macro customer_features(orders, origins, horizon_days=28) %}
{%- set weeks = [1, 2, 4, 8, 13, 26, 52] -%}
{%- set window_columns = [
    'quantity_26w', 'orders_year_ago', 'spend_cents_year_ago', 'gap_median_days', 'gap_std_days',
    'gap_max_days', 'gap_last_days', 'spend_cents_last', 'week_bits', 'period_bits',
    'orders_weekend', 'orders_main_weekday',
] -%}
with purchase_days as (
    select
        customer_id,
        ordered_on,
        sum(case when amount_cents >= 0 then 1 else 0 end) as orders,
        sum(amount_cents) as spend_cents,
        sum(coalesce(quantity, 0)) as quantity
    from {{ orders }}
    where
        customer_id is not null
        and ordered_on <= (select max(as_of) from {{ origins }})
    group by customer_id, ordered_on
),

-- What is older than every origin's last 52 weeks is the same for all of them.
purchase_cut as (
    select {{ add_days('min(as_of)', -363) }} as cut_on from {{ origins }}
),

purchase_base as (
    select
        days.customer_id,
        min(case when days.orders > 0 then days.ordered_on end) as first_on,
        max(case when days.orders > 0 then days.ordered_on end) as last_on,
        sum(case when days.orders > 0 then 1 else 0 end) as visits,
        sum(days.orders) as orders_total,
        sum(days.spend_cents) as spend_cents_total
    from purchase_days as days
    cross join purchase_cut as cut
    where days.ordered_on < cut.cut_on
    group by days.customer_id
),

purchase_recent as (
    select
        days.customer_id,
        days.ordered_on,
        days.orders,
        days.spend_cents,
        days.quantity,
        case when days.orders > 0 then days.ordered_on end as visited_on,
        -- Days of refunds only stand in a partition of their own.
        lag(days.ordered_on) over (
            partition by days.customer_id, days.orders > 0 order by days.ordered_on
        ) as previous_on
    from purchase_days as days
    cross join purchase_cut as cut
    where days.ordered_on >= cut.cut_on
),

purchase_ages as (
    select
        origins.as_of,
        recent.customer_id,
        recent.ordered_on,
        recent.visited_on,
        recent.orders,
        recent.spend_cents,
        recent.quantity,
        {{ days_between('recent.ordered_on', 'origins.as_of') }} as age_days,
        {{ days_between('coalesce(recent.previous_on, base.last_on)', 'recent.visited_on') }}
            as gap_days,
        {{ iso_weekday('recent.ordered_on') }} as weekday
    from purchase_recent as recent
    left join purchase_base as base on recent.customer_id = base.customer_id
    inner join {{ origins }} as origins on origins.as_of >= recent.ordered_on
),

purchase_windows as (
    select
        as_of,
        customer_id,
        min(visited_on) as first_on,
        max(visited_on) as last_on,
        sum(case when orders > 0 then 1 else 0 end) as visits,
        sum(orders) as orders_total,
        sum(spend_cents) as spend_cents_total,
        {%- for week in weeks %}
        sum(case when age_days < {{ week * 7 }} then orders else 0 end) as orders_{{ week }}w,
        sum(case when age_days < {{ week * 7 }} then spend_cents else 0 end) as spend_cents_{{ week }}w,
        {%- endfor %}
        sum(case when age_days < 182 then quantity else 0 end) as quantity_26w,
        sum(case when age_days < 364 and age_days >= 364 - {{ horizon_days }} then orders else 0 end)
            as orders_year_ago,
        sum(case when age_days < 364 and age_days >= 364 - {{ horizon_days }} then spend_cents else 0 end)
            as spend_cents_year_ago,
        {{ median_of('case when age_days < 364 then gap_days end') }} as gap_median_days,
        {{ exact_std_of('case when age_days < 364 then gap_days end') }} as gap_std_days,
        max(case when age_days < 364 then gap_days end) as gap_max_days,
        max_by(
            gap_days, case when age_days < 364 and gap_days is not null then ordered_on end
        ) as gap_last_days,
        max_by(spend_cents, case when age_days < 364 then visited_on end) as spend_cents_last,
        {{ bits_of('case when orders > 0 and age_days < 364 then floor(age_days / 7.0) end') }} as week_bits,
        {{ bits_of('case when orders > 0 and age_days < 364 then floor(age_days / ' ~ horizon_days ~ '.0) end') }}
            as period_bits,
        sum(case when weekday >= 6 and age_days < 364 then orders else 0 end) as orders_weekend,
        greatest(
            {%- for weekday in range(1, 8) %}
            sum(case when weekday = {{ weekday }} and age_days < 364 then orders else 0 end){{ "," if not loop.last }}
            {%- endfor %}
        ) as orders_main_weekday
    from purchase_ages
    group by as_of, customer_id
),

purchase_state as (
    select
        coalesce(windows.as_of, base.as_of) as as_of,
        coalesce(windows.customer_id, base.customer_id) as customer_id,
        coalesce(base.first_on, windows.first_on) as first_on,
        coalesce(windows.last_on, base.last_on) as last_on,
        coalesce(base.visits, 0) + coalesce(windows.visits, 0) as visits,
        coalesce(base.orders_total, 0) + coalesce(windows.orders_total, 0) as orders_total,
        coalesce(base.spend_cents_total, 0) + coalesce(windows.spend_cents_total, 0)
            as spend_cents_total,
        {%- for week in weeks %}
        windows.orders_{{ week }}w,
        windows.spend_cents_{{ week }}w,
        {%- endfor %}
        {%- for name in window_columns %}
        windows.{{ name }}{{ "," if not loop.last }}
        {%- endfor %}
    from purchase_windows as windows
    full outer join (
        select
            origins.as_of,
            purchase_base.*
        from purchase_base
        cross join {{ origins }} as origins
    ) as base
        on windows.as_of = base.as_of and windows.customer_id = base.customer_id
),

-- Whether a short history is a new customer or a new source cannot be seen in one customer.
purchase_start as (
    select min(ordered_on) as started_on from purchase_days
)

select
    state.as_of,
    state.customer_id,
    state.first_on,
    state.last_on,
    cast({{ days_between('state.last_on', 'state.as_of') }} as integer) as recency_days,
    cast({{ days_between('state.first_on', 'state.as_of') }} as integer) as tenure_days,
    cast({{ days_between('start.started_on', 'state.first_on') }} as integer) as joined_day,
    cast(state.visits as integer) as visits,
    cast(state.orders_total as integer) as orders_total,
    cast(state.spend_cents_total as bigint) as spend_cents_total,
    {%- for week in weeks %}
    cast(coalesce(state.orders_{{ week }}w, 0) as integer) as orders_{{ week }}w,
    cast(coalesce(state.spend_cents_{{ week }}w, 0) as bigint) as spend_cents_{{ week }}w,
    {%- endfor %}
    {%- for week in [4, 13, 26, 52] %}
    cast({{ count_bits('state.week_bits', week) }} as integer) as active_weeks_{{ week }}w,
    {%- endfor %}
    -- of the last whole periods as long as the horizon: how many saw a purchase
    cast({{ count_bits('state.period_bits', (364 // horizon_days) if horizon_days < 364 else 1) }} as integer)
        as active_periods,
    cast(
        least(
            {{ (364 // horizon_days) if horizon_days < 364 else 1 }},
            floor({{ days_between('state.first_on', 'state.as_of') }} / {{ horizon_days }}.0) + 1
        ) as integer
    ) as known_periods,
    case
        when state.visits > 1
            then
                cast({{ days_between('state.first_on', 'state.last_on') }} as double)
                / (state.visits - 1)
    end as gap_mean_days,
    cast(state.gap_median_days as double) as gap_median_days,
    cast(state.gap_std_days as double) as gap_std_days,
    cast(state.gap_max_days as integer) as gap_max_days,
    cast(state.gap_last_days as integer) as gap_last_days,
    case
        when state.visits > 1
            then
                cast({{ days_between('state.last_on', 'state.as_of') }} as double)
                * (state.visits - 1)
                / {{ days_between('state.first_on', 'state.last_on') }}
    end as recency_in_gaps,
    -- last 4 weeks against the 4 and the 13 before, in orders a 4 weeks
    cast(
        2 * coalesce(state.orders_4w, 0) - coalesce(state.orders_8w, 0) as integer
    ) as orders_change_4w,
    cast(coalesce(state.orders_4w, 0) as double)
        - (coalesce(state.orders_13w, 0) - coalesce(state.orders_4w, 0)) * 4.0 / 9.0
        as orders_change_13w,
    cast(coalesce(state.spend_cents_4w, 0) as double)
        - (coalesce(state.spend_cents_13w, 0) - coalesce(state.spend_cents_4w, 0)) * 4.0 / 9.0
        as spend_cents_change_13w,
    cast(coalesce(state.orders_year_ago, 0) as integer) as orders_year_ago,
    cast(coalesce(state.spend_cents_year_ago, 0) as bigint) as spend_cents_year_ago,
    cast(state.spend_cents_total as double) / state.orders_total as basket_cents,
    cast(state.spend_cents_last as bigint) as spend_cents_last,
    cast(state.quantity_26w as double) / nullif(state.orders_26w, 0) as basket_quantity_26w,
    cast(state.orders_weekend as double) / nullif(state.orders_52w, 0) as weekend_share,
    cast(state.orders_main_weekday as double) / nullif(state.orders_52w, 0)
        as main_weekday_share
from purchase_state as state
cross join purchase_start as start
where state.visits > 0
{% endmacro %}


{#- What came after: orders and spend in (as_of, as_of + horizon_days]. A customer without a row
    bought nothing. Only origins whose horizon lies wholly within the data make honest labels. -#}
{% macro future_orders(orders, origins, horizon_days=28) %}
select
    origins.as_of,
    later.customer_id,
    cast(sum(case when later.amount_cents >= 0 then 1 else 0 end) as integer) as future_orders,
    cast(sum(later.amount_cents) as bigint) as future_spend_cents
from {{ orders }} as later
inner join {{ origins }} as origins
    on
        later.ordered_on > origins.as_of
        and later.ordered_on <= {{ add_days('origins.as_of', horizon_days) }}
where later.customer_id is not null
group by origins.as_of, later.customer_id
{% endmacro %}


{#-
  The orders under the customers that we believed in at each origin, as `orders` of the macro above.

  A customer whose records merged or were split after an origin was another one then; and a purchase
  whose buyer was found out later was nobody's, or somebody else's. Those who return are the ones that
  merge, so that today's ids would tell the past who will come back. An id that is not the same at all
  origins is told apart by the origin (`id@day`); `at_their_origin` takes that off again.

  orders   one row an order: order_id and what customer_features reads, under the customers of today
  beliefs  order_id, customer_id, known_from, known_to DATE: see the mart order_beliefs
-#}
{% macro known_orders(orders, beliefs, origins) %}
select
    orders.customer_id,
    orders.ordered_on,
    orders.amount_cents,
    orders.quantity
from {{ orders }} as orders
where orders.customer_id not in (select customer_id from {{ beliefs }} where customer_id is not null)
union all
select
    orders.customer_id || '@' || cast(origins.as_of as varchar(10)) as customer_id,
    orders.ordered_on,
    orders.amount_cents,
    orders.quantity
from {{ orders }} as orders
cross join {{ origins }} as origins
where
    orders.customer_id in (select customer_id from {{ beliefs }} where customer_id is not null)
    and orders.order_id not in (select order_id from {{ beliefs }})
    and orders.ordered_on <= origins.as_of
union all
select
    beliefs.customer_id || '@' || cast(origins.as_of as varchar(10)) as customer_id,
    orders.ordered_on,
    orders.amount_cents,
    orders.quantity
from {{ orders }} as orders
inner join {{ beliefs }} as beliefs on orders.order_id = beliefs.order_id
inner join {{ origins }} as origins
    on
        beliefs.known_from <= origins.as_of
        and (beliefs.known_to is null or beliefs.known_to > origins.as_of)
        and orders.ordered_on <= origins.as_of
{% endmacro %}


{#- Rows (as_of, customer_id, ...) whose id belongs to their own origin, under the id itself. -#}
{% macro at_their_origin(rows) %}
select
    split_part(told.customer_id, '@', 1) as known_customer_id,
    told.*
from ({{ rows }}) as told
where
    split_part(told.customer_id, '@', 2) = ''
    or split_part(told.customer_id, '@', 2) = cast(told.as_of as varchar(10))
{% endmacro %}


{#-
  The orders of today under every id that leads to their customer, as `orders` of future_orders: what
  came after an origin is the successor's where an id merged into another one or was split.

  id_map  old_id, new_id: see the mart customer_id_map
-#}
{% macro followed_orders(orders, beliefs, id_map) %}
select
    customer_id,
    ordered_on,
    amount_cents
from {{ orders }}
where customer_id is not null
union all
select
    led.old_id as customer_id,
    later.ordered_on,
    later.amount_cents
from {{ orders }} as later
inner join (
    select
        old_id,
        new_id
    from {{ id_map }}
    union
    select
        beliefs.customer_id as old_id,
        present.customer_id as new_id
    from {{ beliefs }} as beliefs
    inner join {{ orders }} as present on beliefs.order_id = present.order_id
) as led
    on later.customer_id = led.new_id
where led.old_id <> led.new_id
{% endmacro %}


{#- What engines say differently. -#}
{% macro days_between(earlier, later) %}{{ adapter.dispatch('days_between')(earlier, later) }}{% endmacro %}
{% macro default__days_between(earlier, later) %}({{ later }} - {{ earlier }}){% endmacro %}
{% macro spark__days_between(earlier, later) %}datediff({{ later }}, {{ earlier }}){% endmacro %}

{% macro add_days(day, days) %}{{ adapter.dispatch('add_days')(day, days) }}{% endmacro %}
{% macro default__add_days(day, days) %}({{ day }} + {{ days }}){% endmacro %}
{% macro spark__add_days(day, days) %}date_add({{ day }}, {{ days }}){% endmacro %}

{% macro iso_weekday(day) %}{{ adapter.dispatch('iso_weekday')(day) }}{% endmacro %}
{% macro default__iso_weekday(day) %}isodow({{ day }}){% endmacro %}
{% macro spark__iso_weekday(day) %}(weekday({{ day }}) + 1){% endmacro %}

{#- Standard deviation of whole numbers from whole sums: the same whatever the order of rows. -#}
{% macro exact_std_of(number) -%}
        case
            when count({{ number }}) > 1
                then sqrt(
                    cast(
                        count({{ number }}) * sum(cast({{ number }} as bigint) * {{ number }})
                        - sum({{ number }}) * sum({{ number }})
                        as double
                    )
                    / (count({{ number }}) * (count({{ number }}) - 1))
                )
        end
{%- endmacro %}

{% macro median_of(number) %}{{ adapter.dispatch('median_of')(number) }}{% endmacro %}
{% macro default__median_of(number) %}median({{ number }}){% endmacro %}
{% macro spark__median_of(number) %}percentile({{ number }}, 0.5){% endmacro %}

{#- A set of small numbers as bits of one integer: distinct counts of several windows at once. -#}
{% macro bits_of(number) %}{{ adapter.dispatch('bits_of')(number) }}{% endmacro %}
{% macro default__bits_of(number) %}bit_or(cast(1 as bigint) << cast({{ number }} as integer)){% endmacro %}
{% macro spark__bits_of(number) %}bit_or(shiftleft(cast(1 as bigint), cast({{ number }} as int))){% endmacro %}

{% macro count_bits(bits, first) %}{{ adapter.dispatch('count_bits')(bits, first) }}{% endmacro %}
{% macro default__count_bits(bits, first) %}bit_count(coalesce({{ bits }}, 0) & {{ 2 ** first - 1 }}){% endmacro %}
{% macro spark__count_bits(bits, first) %}bit_count(coalesce({{ bits }}, 0) & {{ 2 ** first - 1 }}){% endmacro %}
