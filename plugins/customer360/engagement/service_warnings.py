"""Early warnings of service: what will go wrong, or goes wrong again, and who should act.

What belongs here: first answers that are about to be late, repeated faults, falling sentiment,
product batches that fail more often than their like. What does not: tickets' texts (``tickets``).

A batch is compared with its whole model: if it fails no more often, each first fault of the model
falls on the batch with the share of the days in use that its units have, so that its count is
binomial (the exact conditional test of Poisson rates; Przyborowski and Wilenski 1940). All batches
and declared groups of them (a production line) are tested at once; Benjamini-Hochberg keeps the
expected share of false alarms under ``false_alarm_rate``.
"""

import datetime as dt

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import binom

from customer360.engagement.config import ServiceRules
from customer360.engagement.tables import day, rows_of
from customer360.warehouse import literal

TABLE = "engagement.service_warnings"
KINDS = ("first_response_breach", "repeat_fault", "sentiment_drop", "product_batch_fault")

_SHAPE = (
    "warning_id varchar, kind varchar, subject varchar, customer_id varchar, since_on date, "
    "severity double, reason varchar, owner varchar, next_step varchar, expires_on date"
)
_OWNERS = {
    "first_response_breach": "service-manager",
    "repeat_fault": "after-sales",
    "sentiment_drop": "customer-care",
    "product_batch_fault": "quality-management",
}
_STEPS = {
    "first_response_breach": "Answer now, or give the case to somebody who is free",
    "repeat_fault": "Call the customer, send a senior engineer with the right part",
    "sentiment_drop": "Call the customer and listen",
    "product_batch_fault": "Stop deliveries of the batch, inspect returned units, tell the owners",
}
REPEAT_SHOWN_DAYS = 14


def warn(
    connection: duckdb.DuckDBPyConnection,
    rules: ServiceRules,
    cutoff: dt.datetime,
    as_of: dt.date,
) -> None:
    """Write ``engagement.service_warnings``: a row a warning that holds now."""
    connection.execute(f"create or replace table {TABLE} ({_SHAPE})")
    _warn_of_late_answers(connection, rules, cutoff, as_of)
    _warn_of_repeated_faults(connection, rules, as_of)
    _warn_of_sentiment(connection, rules, as_of)
    _warn_of_batches(connection, rules, as_of)


def _add(
    connection: duckdb.DuckDBPyConnection,
    rules: ServiceRules,
    kind: str,
    query: str,
    as_of: dt.date,
    days: int,
) -> None:
    """Rows of ``query`` (subject, customer_id, since_on, severity, reason) as warnings."""
    connection.execute(
        f"""
        insert into {TABLE}
        select
            'w' || left(sha256(concat_ws('|', {literal(kind)}, subject)), 24),
            {literal(kind)},
            subject,
            customer_id,
            since_on,
            severity,
            reason,
            {literal(rules.owners.get(kind, _OWNERS[kind]))},
            {literal(rules.next_steps.get(kind, _STEPS[kind]))},
            {day(as_of)} + {days}
        from ({query}) as found
        """
    )


def _warn_of_late_answers(
    connection: duckdb.DuckDBPyConnection,
    rules: ServiceRules,
    cutoff: dt.datetime,
    as_of: dt.date,
) -> None:
    cases = rows_of(
        connection,
        "service_cases",
        case_key="varchar",
        customer_id="varchar",
        priority="varchar",
        status="varchar",
        opened_at="timestamp",
        first_response_at="timestamp",
        unanswered_working_minutes="integer",
    )
    promises = ", ".join(
        f"({literal(priority)}, {minutes})"
        for priority, minutes in rules.first_response_minutes.items()
    )
    query = f"""
        select
            cases.case_key as subject,
            cases.customer_id,
            cast(cases.opened_at as date) as since_on,
            least(1.0, waited / promises.minutes) as severity,
            'unanswered for ' || waited || ' minutes; the promise for ' || cases.priority || ' is '
            || promises.minutes as reason
        from (
            select
                *,
                -- working minutes where the mart counts them
                coalesce(
                    unanswered_working_minutes,
                    date_diff('minute', opened_at, timestamp {literal(str(cutoff))})
                ) as waited
            from {cases} as open_cases
            where status <> 'closed' and first_response_at is null
        ) as cases
        inner join (values {promises or "('', 1)"}) as promises (priority, minutes)
            on cases.priority = promises.priority
        where waited >= promises.minutes * {rules.warn_at_share}
    """
    _add(connection, rules, "first_response_breach", query, as_of, 1)


def _warn_of_repeated_faults(
    connection: duckdb.DuckDBPyConnection, rules: ServiceRules, as_of: dt.date
) -> None:
    repairs = rows_of(
        connection,
        "repairs",
        repair_key="varchar",
        customer_id="varchar",
        serial_id="varchar",
        fault_code="varchar",
        reported_on="date",
    )
    query = f"""
        select
            repair_key as subject,
            customer_id,
            reported_on as since_on,
            1.0 as severity,
            'fault ' || fault_code || ' again after ' || gap_days || ' days' as reason
        from (
            select
                *,
                reported_on - lag(reported_on) over (
                    partition by serial_id, fault_code order by reported_on, repair_key
                ) as gap_days
            from {repairs} as visits
            where serial_id is not null and fault_code is not null
        ) as visits
        where
            gap_days between 1 and {rules.repeat_fault_days}
            and reported_on > {day(as_of)} - {REPEAT_SHOWN_DAYS}
    """
    _add(connection, rules, "repeat_fault", query, as_of, REPEAT_SHOWN_DAYS)


def _warn_of_sentiment(
    connection: duckdb.DuckDBPyConnection, rules: ServiceRules, as_of: dt.date
) -> None:
    sentiment = rows_of(
        connection,
        "customer_sentiment",
        customer_id="varchar",
        is_drop_alarm="boolean",
        recent_sentiment="double",
        earlier_sentiment="double",
        worst_aspect="varchar",
        last_text_on="date",
    )
    query = f"""
        select
            customer_id as subject,
            customer_id,
            last_text_on as since_on,
            least(1.0, (earlier_sentiment - recent_sentiment) / 2) as severity,
            'sentiment fell from ' || round(earlier_sentiment, 2) || ' to '
            || round(recent_sentiment, 2) || coalesce(', about ' || worst_aspect, '') as reason
        from {sentiment} as sentiment
        where is_drop_alarm
    """
    _add(connection, rules, "sentiment_drop", query, as_of, REPEAT_SHOWN_DAYS)


def _warn_of_batches(
    connection: duckdb.DuckDBPyConnection, rules: ServiceRules, as_of: dt.date
) -> None:
    found = compare_batches(connection, rules, as_of)
    connection.register("batches_found", found)
    query = """
        select
            model || ' ' || name as subject,
            cast(null as varchar) as customer_id,
            first_on as since_on,
            1 - adjusted_p as severity,
            level || ' ' || name || ' of ' || model || ': ' || faulty || ' of ' || units
            || ' units failed, ' || round(expected, 1) || ' expected (adjusted p '
            || printf('%.2g', adjusted_p) || ')' as reason
        from batches_found
        where is_alarm
    """
    _add(connection, rules, "product_batch_fault", query, as_of, REPEAT_SHOWN_DAYS)
    connection.unregister("batches_found")


def compare_batches(
    connection: duckdb.DuckDBPyConnection, rules: ServiceRules, as_of: dt.date
) -> pa.Table:
    """Every batch and group of batches with its test.

    Returns:
        ``level`` (batch or a declared group), ``name``, ``model``, ``units``, ``faulty`` (units
        with a fault of their own, each once), ``expected``, ``p``, ``adjusted_p``, ``is_alarm``,
        ``first_on`` (of the first fault).
    """
    installed = rows_of(
        connection,
        "installed_products",
        serial_id="varchar",
        model="varchar",
        batch="varchar",
        installed_on="date",
    )
    repairs = rows_of(connection, "repairs", serial_id="varchar", reported_on="date")
    levels = ", ".join(
        f"{literal(name)}: nullif(regexp_extract(batch, {literal(pattern)}, 1), '')"
        for name, pattern in rules.batch_groups.items()
    )
    table = connection.execute(
        f"""
        with units as (
            select
                installed.serial_id,
                any_value(installed.model) as model,
                any_value(installed.batch) as batch,
                min(installed.installed_on) as installed_on,
                min(repairs.reported_on) as failed_on
            from {installed} as installed
            left join {repairs} as repairs
                on
                    installed.serial_id = repairs.serial_id
                    and repairs.reported_on >= installed.installed_on
                    and repairs.reported_on <= {day(as_of)}
            where installed.batch is not null and installed.installed_on <= {day(as_of)}
            group by installed.serial_id
        ),

        grouped as (
            select
                units.*,
                groups.key as level,
                groups.value as name,
                -- days at risk of the first fault
                greatest(1, coalesce(failed_on, {day(as_of)}) - installed_on) as days
            from units
            cross join lateral (
                select unnest(map_entries(
                    map_concat(map {{'batch': batch}}, map {{{levels}}})
                )) as entry
            ) as entries
            cross join lateral (select entry.key as key, entry.value as value) as groups
            where groups.value is not null
        ),

        models as (
            select level, model, count(failed_on) as faulty, sum(days) as days
            from grouped
            group by level, model
        )

        select
            grouped.level,
            grouped.name,
            grouped.model,
            cast(count(*) as integer) as units,
            cast(count(grouped.failed_on) as integer) as faulty,
            min(grouped.failed_on) as first_on,
            cast(any_value(models.faulty) as integer) as faulty_of_model,
            sum(grouped.days) / any_value(models.days) as share
        from grouped
        inner join models on grouped.level = models.level and grouped.model = models.model
        group by grouped.level, grouped.name, grouped.model
        order by grouped.level, grouped.model, grouped.name
        """
    ).to_arrow_table()
    units, faulty, of_model, share = (
        table.column(name).to_numpy() for name in ("units", "faulty", "faulty_of_model", "share")
    )
    p = binom.sf(faulty - 1, of_model, share)
    tested = (units >= rules.min_units) & (share < 1)
    adjusted = np.ones(len(p))
    adjusted[tested] = adjust(p[tested])
    alarm = tested & (adjusted <= rules.false_alarm_rate)
    for name, values in (
        ("expected", of_model * share),
        ("p", p),
        ("adjusted_p", adjusted),
        ("is_alarm", alarm),
    ):
        table = table.append_column(name, pa.array(values))
    return table.drop_columns(["faulty_of_model", "share"])


def adjust(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini-Hochberg: p values raised so that a cut keeps the false discovery rate."""
    count = len(p)
    order = np.argsort(p, kind="stable")
    raised = p[order] * count / np.arange(1, count + 1)
    raised = np.minimum.accumulate(raised[::-1])[::-1]
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted
