"""Behaviour triggers: what a customer did or stopped doing, answered once.

What belongs here: who does what now, and that each is answered once with a cool-down. What does
not: channels and caps (``plan``).

A trigger fires once for its subject (a cart, a price, a warranty, a cycle, a silence); the memory
keeps it. Another subject of the same trigger fires only after ``cool_down_days``. What fired stays
a candidate for ``within_days``, in case that caps hold the touch back on the first of them.
"""

import datetime as dt

import duckdb
import pyarrow as pa

from customer360.engagement import candidates
from customer360.engagement.config import Engagement, Trigger
from customer360.engagement.memory import DECISION_SCHEMA, Memory
from customer360.engagement.tables import day, rows_of
from customer360.warehouse import literal

KIND = "trigger"
TABLE = "engagement.triggered_touches"


def fire(
    connection: duckdb.DuckDBPyConnection,
    rules: Engagement,
    memory: Memory,
    cutoff: dt.datetime,
    plan_on: dt.date,
) -> pa.Table:
    """Write ``engagement.triggered_touches`` and add them to the candidates.

    Args:
        connection: to the work file.
        rules: which triggers there are.
        memory: what fired before.
        cutoff: end of the data, in UTC.
        plan_on: the day on which they are answered.

    Returns:
        What fires for the first time, for the memory.
    """
    connection.register("triggers_known", memory.recall(KIND))
    connection.execute(
        "create or replace temp table triggers_seen (customer_id varchar, trigger varchar, "
        "subject varchar, seen_on date, variables varchar)"
    )
    for name, trigger in rules.triggers.items():
        query = _SEEN[name](connection, trigger, cutoff, plan_on)
        connection.execute(
            f"insert into triggers_seen select customer_id, {literal(name)}, subject, seen_on, "
            f"cast(variables as varchar) from ({query}) "
            "where customer_id in (select customer_id from main.customers)"
        )
    _decide(connection, rules, memory.as_of, plan_on)
    for name, trigger in rules.triggers.items():
        candidates.add(
            connection,
            f"select 'trigger' as source, trigger_id as subject, customer_id, variables, "
            f"{candidates.fixed_columns(rules, name, trigger, trigger.purpose)}, until_on "
            f"from {TABLE} where trigger = {literal(name)}",
        )
    fired = connection.execute(
        f"""
        select
            {literal(KIND)} as kind,
            trigger_id as decision_id,
            customer_id as subject_id,
            trigger as name,
            cast(null as varchar) as channel,
            fired_on as decided_on,
            until_on,
            seen_on as since_on,
            cast(null as double) as score,
            owner
        from {TABLE}
        where is_new
        order by trigger_id
        """
    ).to_arrow_table()
    connection.unregister("triggers_known")
    return fired.cast(DECISION_SCHEMA)


def _decide(
    connection: duckdb.DuckDBPyConnection, rules: Engagement, as_of: dt.date, plan_on: dt.date
) -> None:
    """Which of what is seen is new, which goes on, and which the cool-down keeps back."""
    declared = ", ".join(
        f"({literal(name)}, {trigger.cool_down_days}, {trigger.within_days}, "
        f"{literal(trigger.owner)}, {literal(trigger.purpose)}, {literal(trigger.template)})"
        for name, trigger in rules.triggers.items()
    )
    connection.execute(
        f"""
        create or replace table {TABLE} as
        with rules (trigger, cool_down_days, within_days, owner, purpose, template) as (
            values {declared or "('', 0, 0, '', '', '')"}
        ),

        known as (
            select
                coalesce(moved.new_id, triggers_known.subject_id) as customer_id,
                triggers_known.name as trigger,
                triggers_known.decision_id as trigger_id,
                triggers_known.decided_on as fired_on
            from triggers_known
            left join main.customer_id_map as moved on triggers_known.subject_id = moved.old_id
        ),

        last_fired as (
            select customer_id, trigger, max(fired_on) as fired_on
            from known
            group by customer_id, trigger
        ),

        seen as (
            select
                'g' || left(sha256(concat_ws('|', trigger, subject, customer_id)), 24)
                    as trigger_id,
                *
            from triggers_seen
            -- the newest of each trigger speaks for the others
            qualify row_number() over (
                partition by customer_id, trigger order by seen_on desc, subject asc
            ) = 1
        )

        select
            seen.trigger_id,
            seen.customer_id,
            seen.trigger,
            seen.subject,
            seen.seen_on,
            coalesce(known.fired_on, {day(as_of)}) as fired_on,
            known.trigger_id is null as is_new,
            coalesce(known.fired_on, {day(as_of)}) + rules.within_days as until_on,
            {day(plan_on)} as plan_on,
            rules.purpose,
            rules.owner,
            rules.template,
            seen.variables
        from seen
        inner join rules on seen.trigger = rules.trigger
        left join (select distinct on (trigger_id) * from known order by fired_on) as known
            on seen.trigger_id = known.trigger_id
        left join last_fired
            on seen.customer_id = last_fired.customer_id and seen.trigger = last_fired.trigger
        where
            coalesce(known.fired_on, {day(as_of)}) + rules.within_days >= {day(plan_on)}
            and (
                known.trigger_id is not null
                or last_fired.fired_on is null
                or last_fired.fired_on + rules.cool_down_days <= {day(as_of)}
            )
        """
    )


def _abandoned_cart(
    connection: duckdb.DuckDBPyConnection,
    trigger: Trigger,
    cutoff: dt.datetime,
    _plan_on: dt.date,
) -> str:
    """Lies for a while with something in it, and nothing was bought since."""
    carts = rows_of(
        connection,
        "carts",
        customer_id="varchar",
        cart_key="varchar",
        status="varchar",
        amount_cents="bigint",
        main_product_id="varchar",
        updated_at="timestamp",
    )
    orders = rows_of(connection, "orders", customer_id="varchar", ordered_at="timestamp")
    return f"""
        select
            carts.customer_id,
            carts.cart_key as subject,
            cast(carts.updated_at as date) as seen_on,
            json_object(
                'product', carts.main_product_id, 'amount_yuan', carts.amount_cents / 100
            ) as variables
        from {carts} as carts
        where
            carts.customer_id is not null
            and carts.status <> 'ordered'
            and carts.amount_cents > 0
            and carts.updated_at <= {_moment(cutoff)} - interval '{trigger.wait_minutes} minutes'
            and carts.updated_at > {_moment(cutoff)} - interval '{trigger.within_days} days'
            and not exists (
                select 1
                from {orders} as orders
                where
                    orders.customer_id = carts.customer_id
                    and orders.ordered_at >= carts.updated_at
            )
    """


def _price_drop(
    connection: duckdb.DuckDBPyConnection,
    trigger: Trigger,
    cutoff: dt.datetime,
    _plan_on: dt.date,
) -> str:
    """Of something that lay in a cart in the last 60 days and was not bought."""
    prices = rows_of(
        connection,
        "product_prices",
        source="varchar",
        product_id="varchar",
        price_cents="bigint",
        previous_price_cents="bigint",
        valid_from="timestamp",
        is_current="boolean",
    )
    lines = rows_of(
        connection, "cart_lines", cart_key="varchar", catalogue="varchar", product_id="varchar"
    )
    carts = rows_of(
        connection,
        "carts",
        customer_id="varchar",
        cart_key="varchar",
        status="varchar",
        updated_at="timestamp",
    )
    return f"""
        select distinct
            carts.customer_id,
            prices.product_id || ' ' || prices.price_cents || ' ' || cast(prices.valid_from as date)
                as subject,
            cast(prices.valid_from as date) as seen_on,
            json_object(
                'product', prices.product_id,
                'price_yuan', prices.price_cents / 100,
                'saved_yuan', (prices.previous_price_cents - prices.price_cents) / 100
            ) as variables
        from {prices} as prices
        inner join {lines} as lines
            on prices.source = lines.catalogue and prices.product_id = lines.product_id
        inner join {carts} as carts on lines.cart_key = carts.cart_key
        where
            carts.customer_id is not null
            and carts.status <> 'ordered'
            and prices.is_current
            and prices.valid_from > {_moment(cutoff)} - interval '{trigger.within_days} days'
            and prices.price_cents <= prices.previous_price_cents * (1 - {trigger.min_drop})
            and carts.updated_at < prices.valid_from
            and carts.updated_at > {_moment(cutoff)} - interval '60 days'
    """


def _warranty_ending(
    connection: duckdb.DuckDBPyConnection,
    trigger: Trigger,
    _cutoff: dt.datetime,
    plan_on: dt.date,
) -> str:
    owned = rows_of(
        connection,
        "installed_products",
        customer_id="varchar",
        product_key="varchar",
        model="varchar",
        warranty_until="date",
    )
    return f"""
        select
            customer_id,
            product_key as subject,
            warranty_until - {trigger.lead_days} as seen_on,
            json_object('product', model, 'ends_on', cast(warranty_until as varchar)) as variables
        from {owned} as owned
        where
            customer_id is not null
            and warranty_until between {day(plan_on)} and {day(plan_on)} + {trigger.lead_days}
    """


def _repurchase_window(
    connection: duckdb.DuckDBPyConnection,
    trigger: Trigger,
    _cutoff: dt.datetime,
    plan_on: dt.date,
) -> str:
    """The customer's own cycle in a category, from three purchases on; it opens when that ends."""
    lines = rows_of(
        connection,
        "order_lines",
        customer_id="varchar",
        catalogue="varchar",
        product_id="varchar",
        ordered_on="date",
        quantity="bigint",
    )
    products = rows_of(
        connection, "products", source="varchar", product_id="varchar", category="varchar"
    )
    return f"""
        with bought as (
            select distinct lines.customer_id, products.category, lines.ordered_on
            from {lines} as lines
            inner join {products} as products
                on lines.catalogue = products.source and lines.product_id = products.product_id
            where
                lines.customer_id is not null and lines.quantity > 0
                and products.category is not null
        ),

        gaps as (
            select
                *,
                ordered_on - lag(ordered_on) over (
                    partition by customer_id, category order by ordered_on
                ) as gap_days
            from bought
        ),

        cycles as (
            select
                customer_id,
                category,
                max(ordered_on) as last_on,
                cast(round(median(gap_days)) as integer) as cycle_days
            from gaps
            group by customer_id, category
            having count(gap_days) >= 2
        )

        select
            customer_id,
            category || ' ' || cast(last_on as varchar) as subject,
            last_on + cycle_days as seen_on,
            json_object('product', category, 'cycle_days', cycle_days) as variables
        from cycles
        where
            cycle_days between 7 and 400
            and last_on + cycle_days
            between {day(plan_on)} - {trigger.within_days} and {day(plan_on)}
    """


def _lapse(
    _connection: duckdb.DuckDBPyConnection,
    trigger: Trigger,
    _cutoff: dt.datetime,
    plan_on: dt.date,
) -> str:
    return f"""
        select
            customer_id,
            cast(last_order_on as varchar) as subject,
            last_order_on + {trigger.after_days} as seen_on,
            json_object('days_away', {day(plan_on)} - last_order_on) as variables
        from main.customer_360
        where
            last_order_on + {trigger.after_days}
            between {day(plan_on)} - {trigger.within_days} and {day(plan_on)}
    """


def _moment(value: dt.datetime) -> str:
    return f"timestamp {literal(str(value))}"


_SEEN = {
    "abandoned_cart": _abandoned_cart,
    "price_drop": _price_drop,
    "warranty_ending": _warranty_ending,
    "repurchase_window": _repurchase_window,
    "lapse": _lapse,
}
