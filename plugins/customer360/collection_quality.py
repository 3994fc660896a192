"""Collection quality: how complete, accurate, timely and compliant each field of each day came in.

A batch's values are counted while raw loads it, from its typed rows; shares, rules in words and
limits meet in one view, ``meta.collection_quality``, a row a source, table, field and day. What
belongs here: the counts and that view. What does not: refusing rows (``contracts``, ``raw``), or
deciding what a weak field stops (``trust``).
"""

import datetime as dt
from collections.abc import Iterable
from typing import Any

import duckdb

from customer360.config import SCALES, Column, CompanySources, Config, Policies, Table
from customer360.contracts import Rule
from customer360.warehouse import literal, quote

VIEW = "meta.collection_quality"
DEFAULT_PROMISE_DAYS = 1

META = """
create table if not exists meta.collection_counts (
    source varchar not null,
    table_name varchar not null,
    batch varchar not null,
    as_of date not null,
    field varchar not null,
    rows_seen bigint not null,
    filled bigint not null,
    accurate bigint not null
);
create table if not exists meta.collection_timeliness (
    source varchar not null,
    table_name varchar not null,
    as_of date not null,
    judged bigint not null,
    timely bigint not null,
    primary key (source, table_name, as_of)
);
create table if not exists meta.collection_rules (
    source varchar not null,
    table_name varchar not null,
    field varchar not null,
    stage varchar not null,
    personal varchar not null,
    compliant double,
    complete_rule varchar not null,
    accurate_rule varchar not null,
    timely_rule varchar,
    compliant_rule varchar,
    least_complete double not null,
    least_accurate double not null,
    least_timely double not null,
    least_compliant double not null,
    primary key (source, table_name, field)
);
create or replace view meta.collection_quality as
with days as (
    select source, table_name, field, as_of, sum(rows_seen)::bigint as rows_seen,
        sum(filled) as filled, sum(accurate) as accurate
    from meta.collection_counts
    group by source, table_name, field, as_of
),
shares as (
    select days.source, days.table_name, days.field, days.as_of, rules.stage, rules.personal,
        days.rows_seen,
        days.filled / nullif(days.rows_seen, 0) as complete,
        days.accurate / nullif(days.filled, 0) as accurate,
        punctual.timely / nullif(punctual.judged, 0) as timely,
        case when days.filled > 0 then rules.compliant end as compliant,
        rules.complete_rule, rules.accurate_rule, rules.timely_rule, rules.compliant_rule,
        rules.least_complete, rules.least_accurate, rules.least_timely, rules.least_compliant
    from days
    inner join meta.collection_rules as rules using (source, table_name, field)
    left join meta.collection_timeliness as punctual using (source, table_name, as_of)
)
select * exclude (least_complete, least_accurate, least_timely, least_compliant),
    coalesce(complete < least_complete, false) or coalesce(accurate < least_accurate, false)
    or coalesce(timely < least_timely, false) or coalesce(compliant < least_compliant, false)
    as is_weak
from shares;
"""


def prepare(connection: duckdb.DuckDBPyConnection, config: Config) -> None:
    """Make the tables and the view, and note the rules and limits as they are declared now."""
    connection.execute(META)
    connection.execute("delete from meta.collection_rules")
    noted = list(_noted(config))
    connection.executemany(
        f"insert into meta.collection_rules values ({', '.join('?' * len(noted[0]))})", noted
    )


def _noted(config: Config) -> Iterable[list[Any]]:
    for source_name, source in config.sources.sources.items():
        for table_name, table in source.tables.items():
            for field, column in table.columns.items():
                limits = config.policies.trust.limits_of(f"{source_name}.{table_name}.{field}")
                share, compliant_rule = compliance(column, config.policies)
                yield [
                    source_name,
                    table_name,
                    field,
                    source.stage,
                    column.personal,
                    share,
                    _complete_rule(column),
                    _accurate_rule(column),
                    _timely_rule(table),
                    compliant_rule,
                    *(limits[scale] for scale in SCALES),
                ]


def compliance(column: Column, policies: Policies) -> tuple[float | None, str | None]:
    """Share of a field's values that are held under a legal basis, and why; None: not personal.

    Until consents are joined to rows it is all or nothing: a basis that needs no consent covers
    every value, a consent covers them only where policy says in which field it is recorded.
    """
    if column.personal == "none":
        return None, None
    basis = policies.legal_basis.get(column.personal, "none")
    name = f"personal class {column.personal}"
    if basis == "none":
        return 0.0, f"{name}: policies.yml states no legal basis"
    if basis != "consent":
        return 1.0, f"{name}: held under {basis.replace('_', ' ')}"
    place = policies.consent_recorded_in.get(column.personal)
    if place is None:
        return 0.0, f"{name}: needs a consent, and policies.yml does not say where it is recorded"
    return 1.0, f"{name}: under a consent recorded in {place} (not yet looked up row by row)"


def _complete_rule(column: Column) -> str:
    required = "required" if column.required else "may be absent"
    return f"share of rows with a value ({required})"


def _accurate_rule(column: Column) -> str:
    parts = [f"are a {column.type}"]
    parts += [f"are {column.min:g} or more"] if column.min is not None else []
    parts += [f"are {column.max:g} or less"] if column.max is not None else []
    parts += [f"are one of {len(column.allowed)} allowed"] if column.allowed is not None else []
    parts += ["match their pattern"] if column.matches is not None else []
    return f"share of values that {', '.join(parts)}"


def _timely_rule(table: Table) -> str | None:
    if table.cursor is None:
        return None
    days = promise_days(table)
    return (
        f"share of new rows that came with the first reading within {days} "
        f"{'day' if days == 1 else 'days'} of {table.cursor.column}"
    )


def promise_days(table: Table) -> int:
    """Within how many days of its happening a row of the table should have come in."""
    days = table.freshness.warn_after_days
    return DEFAULT_PROMISE_DAYS if days is None else days


# --- measuring --------------------------------------------------------------------------------


def count_values(
    connection: duckdb.DuckDBPyConnection,
    place: tuple[str, str, str],
    table: Table,
    rules: list[Rule],
) -> None:
    """Count the values of the batch that stands in the table ``typed``, in one query.

    Rows that were set aside count with all their fields, and against the field that broke. A value
    that could not be cast was a value. Lines that were not even rows have no fields and count
    nowhere.

    Args:
        place: source, table, and name of the batch (``<day>/<batch>``).
        rules: of the contract, over the columns of ``typed``.
    """
    source, name, batch = place
    day = batch.partition("/")[0]
    all_ok = " and ".join(rule.ok for rule in rules) or "true"
    filled, uncast, wrong = [], [], []
    for field in table.columns:
        checks = [rule.ok for rule in rules if rule.column == field and rule.name != "required"]
        broken = f"not ({' and '.join(checks) or 'true'})"
        if field in table.key:
            # Set aside though it keeps every rule: its key stands twice.
            broken += f" or ({all_ok})"
        filled.append(f"count({quote(field)})")
        uncast.append(f"count(*) filter (list_contains(_uncast, {literal(field)}))")
        wrong.append(f"count(*) filter ({broken})")
    connection.execute(
        f"""
        insert into meta.collection_counts
        select {literal(source)}, {literal(name)}, {literal(batch)}, date {literal(day)}, field,
            rows_seen, filled + uncast, filled + uncast - wrong
        from (
            select rows_seen, unnest([{", ".join(map(literal, table.columns))}]) as field,
                unnest(filled) as filled, unnest(uncast) as uncast, unnest(wrong) as wrong
            from (select count(*) as rows_seen, [{", ".join(filled)}] as filled from typed) as kept
            cross join (
                select [{", ".join(uncast)}] as uncast, [{", ".join(wrong)}] as wrong
                from typed where not _is_ok
            ) as refused
        ) as counted
        """
    )
    _unsettle(connection, source, name, day)


def measure_timeliness(
    connection: duckdb.DuckDBPyConnection,
    company: CompanySources,
    source: str,
    name: str,
    table: Table,
) -> None:
    """Count how many rows of each unsettled day came in time.

    A row is late when an earlier reading should have brought it: it happened longer ago than the
    table's promise, counted from the day after the reading before. So a day that was caught up
    late blames no source. What had happened before the first reading is history, not late.
    """
    if table.cursor is None:
        return
    where = f"source = {literal(source)} and table_name = {literal(name)}"
    days = [
        day
        for (day,) in connection.execute(
            f"select distinct as_of from meta.batches where {where} order by as_of"
        ).fetchall()
    ]
    settled = {
        day
        for (day,) in connection.execute(
            f"select as_of from meta.collection_timeliness where {where}"
        ).fetchall()
    }
    one_day, promise = dt.timedelta(days=1), dt.timedelta(days=promise_days(table))
    # The bound of a day: rows that happened before it are late.
    before = [days[0] - one_day, *days[:-1]] if days else []
    bounds = {
        day: company.day_end(read_before + one_day) - promise
        for day, read_before in zip(days, before, strict=True)
    }
    open_days = [day for day in days if day not in settled]
    if not open_days:
        return
    values = ", ".join(
        f"(date '{day}', timestamp {literal(str(bounds[day]))})" for day in open_days
    )
    connection.execute(
        f"""
        insert into meta.collection_timeliness
        select {literal(source)}, {literal(name)}, days.as_of, count(held._as_of),
            count(*) filter (held._version_at >= days.bound)
        from (values {values}) as days (as_of, bound)
        left join {quote(source)}.{quote(name)} as held
            on held._as_of = days.as_of
            and held._as_of >= date '{open_days[0]}'
            and held._version_at >= timestamp {literal(str(bounds[days[0]]))}
            and not held._is_deleted
        group by days.as_of
        """
    )


def forget_batch(connection: duckdb.DuckDBPyConnection, source: str, name: str, batch: str) -> None:
    """Take out what a batch was counted for: its rows are taken back."""
    connection.execute(
        "delete from meta.collection_counts where source = ? and table_name = ? and batch = ?",
        [source, name, batch],
    )
    _unsettle(connection, source, name, batch.partition("/")[0])


def forget_table(connection: duckdb.DuckDBPyConnection, source: str, name: str) -> None:
    """Take out everything of a table that is loaded anew."""
    for counts in ("counts", "timeliness"):
        connection.execute(
            f"delete from meta.collection_{counts} where source = ? and table_name = ?",
            [source, name],
        )


def _unsettle(connection: duckdb.DuckDBPyConnection, source: str, name: str, day: str) -> None:
    """A batch that comes or goes changes what was new on its day and on later ones."""
    connection.execute(
        "delete from meta.collection_timeliness "
        "where source = ? and table_name = ? and as_of >= ?::date",
        [source, name, day],
    )
