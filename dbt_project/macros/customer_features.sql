{#-
  The purchase features of a customer as of a date: the one definition of them.

  The mart `customer_features` renders this through dbt; `customer360.scoring.features` renders the
  same text through Jinja alone, so that any table of transactions is scored with the same SQL.
  What is not the same in every engine stands in the dispatched macros at the end.

  orders   one row an order: customer_id, ordered_on DATE, amount_cents BIGINT, quantity.
           An order below zero is a refund: it lowers the spend and is no visit.
  origins  as_of DATE; one row a date. Only orders with ordered_on <= as_of are seen.
  Result   one row an (as_of, customer_id) that had bought by then.

  Cost: orders are added up by customer and day and sorted once; running totals give what holds
  since the first order, so that only the last 52 weeks are joined to each origin.
-#}
{% macro customer_features(orders, origins, horizon_days=28) %}
{%- set weeks = [1, 2, 4, 8, 13, 26, 52] -%}
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

purchase_history as (
    select
        customer_id,
        ordered_on,
        orders,
        spend_cents,
        quantity,
        case when orders > 0 then ordered_on end as visited_on,
        max(case when orders > 0 then ordered_on end) over before_it as previous_visit_on,
        lead(ordered_on) over (partition by customer_id order by ordered_on) as next_on,
        min(case when orders > 0 then ordered_on end) over so_far as first_on,
        max(case when orders > 0 then ordered_on end) over so_far as last_on,
        sum(case when orders > 0 then 1 else 0 end) over so_far as visits,
        sum(orders) over so_far as orders_total,
        sum(spend_cents) over so_far as spend_cents_total
    from purchase_days
    window
        so_far as (
            partition by customer_id order by ordered_on
            rows between unbounded preceding and current row
        ),
        before_it as (
            partition by customer_id order by ordered_on
            rows between unbounded preceding and 1 preceding
        )
),

-- The running totals of a customer hold from one purchase day until the next.
purchase_state as (
    select
        origins.as_of,
        history.customer_id,
        history.first_on,
        history.last_on,
        history.visits,
        history.orders_total,
        history.spend_cents_total
    from purchase_history as history
    inner join {{ origins }} as origins
        on
            origins.as_of >= history.ordered_on
            and origins.as_of < coalesce(history.next_on, date '9999-12-31')
    where history.visits > 0
),

purchase_ages as (
    select
        origins.as_of,
        history.customer_id,
        history.ordered_on,
        history.orders,
        history.spend_cents,
        history.quantity,
        {{ days_between('history.ordered_on', 'origins.as_of') }} as age_days,
        {{ days_between('history.previous_visit_on', 'history.visited_on') }} as gap_days,
        {{ iso_weekday('history.ordered_on') }} as weekday
    from purchase_history as history
    inner join {{ origins }} as origins
        on
            origins.as_of >= history.ordered_on
            and origins.as_of < {{ add_days('history.ordered_on', 364) }}
),

purchase_windows as (
    select
        as_of,
        customer_id,
        {%- for week in weeks %}
        sum(case when age_days < {{ week * 7 }} then orders else 0 end) as orders_{{ week }}w,
        sum(case when age_days < {{ week * 7 }} then spend_cents else 0 end) as spend_cents_{{ week }}w,
        {%- endfor %}
        sum(case when age_days < 182 then quantity else 0 end) as quantity_26w,
        sum(case when age_days < 364 and age_days >= 364 - {{ horizon_days }} then orders else 0 end)
            as orders_year_ago,
        sum(case when age_days < 364 and age_days >= 364 - {{ horizon_days }} then spend_cents else 0 end)
            as spend_cents_year_ago,
        {{ median_of('gap_days') }} as gap_median_days,
        stddev_samp(gap_days) as gap_std_days,
        max(gap_days) as gap_max_days,
        max_by(gap_days, case when gap_days is not null then ordered_on end) as gap_last_days,
        max_by(spend_cents, case when orders > 0 then ordered_on end) as spend_cents_last,
        {{ bits_of('case when orders > 0 then floor(age_days / 7.0) end') }} as week_bits,
        {{ bits_of('case when orders > 0 then floor(age_days / ' ~ horizon_days ~ '.0) end') }}
            as period_bits,
        sum(case when weekday >= 6 then orders else 0 end) as orders_weekend,
        greatest(
            {%- for weekday in range(1, 8) %}
            sum(case when weekday = {{ weekday }} then orders else 0 end){{ "," if not loop.last }}
            {%- endfor %}
        ) as orders_main_weekday
    from purchase_ages
    group by as_of, customer_id
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
    cast(coalesce(windows.orders_{{ week }}w, 0) as integer) as orders_{{ week }}w,
    cast(coalesce(windows.spend_cents_{{ week }}w, 0) as bigint) as spend_cents_{{ week }}w,
    {%- endfor %}
    {%- for week in [4, 13, 26, 52] %}
    cast({{ count_bits('windows.week_bits', week) }} as integer) as active_weeks_{{ week }}w,
    {%- endfor %}
    -- of the last whole periods as long as the horizon: how many saw a purchase
    cast({{ count_bits('windows.period_bits', (364 // horizon_days) if horizon_days < 364 else 1) }} as integer)
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
    cast(windows.gap_median_days as double) as gap_median_days,
    cast(windows.gap_std_days as double) as gap_std_days,
    cast(windows.gap_max_days as integer) as gap_max_days,
    cast(windows.gap_last_days as integer) as gap_last_days,
    case
        when state.visits > 1
            then
                cast({{ days_between('state.last_on', 'state.as_of') }} as double)
                * (state.visits - 1)
                / {{ days_between('state.first_on', 'state.last_on') }}
    end as recency_in_gaps,
    -- last 4 weeks against the 4 and the 13 before, in orders a 4 weeks
    cast(
        2 * coalesce(windows.orders_4w, 0) - coalesce(windows.orders_8w, 0) as integer
    ) as orders_change_4w,
    cast(coalesce(windows.orders_4w, 0) as double)
        - (coalesce(windows.orders_13w, 0) - coalesce(windows.orders_4w, 0)) * 4.0 / 9.0
        as orders_change_13w,
    cast(coalesce(windows.spend_cents_4w, 0) as double)
        - (coalesce(windows.spend_cents_13w, 0) - coalesce(windows.spend_cents_4w, 0)) * 4.0 / 9.0
        as spend_cents_change_13w,
    cast(coalesce(windows.orders_year_ago, 0) as integer) as orders_year_ago,
    cast(coalesce(windows.spend_cents_year_ago, 0) as bigint) as spend_cents_year_ago,
    cast(state.spend_cents_total as double) / state.orders_total as basket_cents,
    cast(windows.spend_cents_last as bigint) as spend_cents_last,
    cast(windows.quantity_26w as double) / nullif(windows.orders_26w, 0) as basket_quantity_26w,
    cast(windows.orders_weekend as double) / nullif(windows.orders_52w, 0) as weekend_share,
    cast(windows.orders_main_weekday as double) / nullif(windows.orders_52w, 0)
        as main_weekday_share
from purchase_state as state
cross join purchase_start as start
left join purchase_windows as windows
    on state.as_of = windows.as_of and state.customer_id = windows.customer_id
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
