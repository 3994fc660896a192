"""The gates between the layers: which suites a layer must pass, made of what is declared.

What belongs here: the raw gate over the state at the end of a day, the gates over what a run has
built. What does not: expectations themselves (``expectations``), running them (``quality``).
"""

import datetime as dt
import functools
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from customer360 import quality_runs, raw, state, trust
from customer360.config import SCALES, Config, Table
from customer360.contracts import rules
from customer360.gate_report import Section
from customer360.quality import run_gate
from customer360.settings import Settings
from customer360.transform import WORKSPACE_FILE, dbt_vars
from customer360.warehouse import connect, literal, quote
from expectations import marts, scores
from expectations import raw as expected
from expectations.relations import Total


def audit_raw(
    settings: Settings, engine: Engine, config: Config, as_of: dt.date, run_id: str
) -> dict[str, Any]:
    """Let through what was loaded, or raise what :func:`~customer360.quality.run_gate` raises.

    Returns:
        Counts of checks, ``rows`` a table, and ``weak_fields``, the worst first.
    """
    cutoff = config.sources.day_end(as_of)
    gates = config.policies.gates
    before = _published_rows(engine, as_of)
    counts: dict[str, int] = {}
    tables = []
    with connect(settings, settings.raw_path) as connection:
        connection.execute("create schema if not exists audit")
        for source_name, source in config.sources.sources.items():
            for name, table in source.tables.items():
                key = ", ".join(quote(column) for column in table.key)
                view = f"audit.{quote(f'{source_name}__{name}')}"
                relation = f"{quote(source_name)}.{quote(name)}"
                connection.execute(
                    f"create or replace view {view} as {_rows_at(key, relation, table, cutoff)}"
                )
                full_name = f"{source_name}.{name}"
                ((counts[full_name],),) = connection.execute(
                    f"select count(*) from {view}"
                ).fetchall()
                floor = int(before.get(full_name, 0) * gates.min_volume_ratio)
                newest_after = {
                    severity: str(cutoff - dt.timedelta(days=days))
                    for severity, days in (
                        ("warn", table.freshness.warn_after_days),
                        ("stop", table.freshness.stop_after_days),
                    )
                    if days is not None and table.cursor
                }
                tables.append(
                    expected.RawTable(
                        source=source_name,
                        name=name,
                        key=_speakable_key(table),
                        rules=tuple(
                            (f"Contract: {rule.column}: {rule.name}", rule.ok)
                            for rule in rules(table)
                            if rule.name != "type" and "_uncast" not in rule.ok
                        ),
                        min_rows=max(floor, 0 if table.may_be_empty else 1),
                        max_quarantined_share=gates.max_quarantined_share,
                        newest_after=newest_after,
                    )
                )
    with connect(settings, settings.raw_path, read_only=True) as connection:
        measured = trust.measures(connection, config, as_of)
    checks = run_gate(
        settings,
        "raw",
        expected.suites(tables, run_id),
        settings.raw_path,
        run_id,
        section=_quality_section(config, measured),
        record=functools.partial(quality_runs.record, engine, run_id, as_of, "raw"),
    )
    raw.approve(settings)
    return {**checks, "rows": counts, "weak_fields": _weak_fields(measured)}


def _weak_fields(measured: list[trust.Measure]) -> list[dict[str, Any]]:
    """Each scale of each field that is below its limit, the worst field first."""
    return [
        {
            "field": measure.field,
            "day": measure.day.isoformat(),
            "scale": scale,
            "share": share,
            "limit": limit,
        }
        for measure in sorted(measured, key=lambda measure: measure.badness, reverse=True)
        for scale, share, limit in measure.weaknesses
    ]


def _quality_section(config: Config, measured: list[trust.Measure]) -> Section:
    """The four scales a source, for the raw gate's page."""
    rows = []
    for source in config.sources.sources:
        fields = [measure for measure in measured if measure.source == source]
        means = []
        for scale in SCALES:
            shares = [share for each in fields if (share := each.shares[scale]) is not None]
            means.append(trust.percent(sum(shares) / len(shares)) if shares else "-")
        weak = [each for each in fields if each.weaknesses]
        lowest = trust.worst(weak)
        rows.append(
            (source, *means, f"{len(weak)} of {len(fields)}", lowest.field if lowest else "")
        )
    return Section(
        "Collection quality",
        "Mean over the fields of what each table delivered last; weak is below a limit of trust in "
        "policies.yml.",
        ("Source", *(scale.capitalize() for scale in SCALES), "Weak fields", "Worst of them"),
        tuple(rows),
    )


def _speakable_key(table: Table) -> tuple[str, ...]:
    """Columns that may stand in a report to name a row: its key, if that is no personal data."""
    if any(table.columns[column].personal != "none" for column in table.key):
        return ("_batch", "_row_hash")
    return table.key


def _published_rows(engine: Engine, as_of: dt.date) -> dict[str, int]:
    """Rows of each raw table at the last published run of an earlier or the same day."""
    run = state.last_published(engine, as_of)
    if run is None:
        return {}
    for step in reversed(state.run_steps(engine, run["run_id"])):
        if step["step"] == "audit_raw" and step["status"] == "done":
            return dict(step["result"].get("rows", {}))
    return {}


def audit_built(
    settings: Settings,
    engine: Engine,
    config: Config,
    as_of: dt.date,
    run_id: str,
    layer: str,
    work_file: Path,
) -> dict[str, Any]:
    """Let through what a run has built in ``work_file``: its marts or its scores."""
    if layer == "marts":
        feeds = {
            entity: [feed["model"] for feed in found]
            for entity, found in dbt_vars(config, as_of)["feeds"].items()
        }
        suites = marts.suites(feeds, as_of.isoformat(), _totals(config, as_of))
    elif layer == "scores":
        suites = scores.suites(list(config.audiences.segments))
    else:
        raise ValueError(f"no layer '{layer}'")
    return run_gate(
        settings,
        layer,
        suites,
        work_file,
        run_id,
        {"raw": settings.raw_path, "workspace": work_file.with_name(WORKSPACE_FILE)},
        record=functools.partial(quality_runs.record, engine, run_id, as_of, layer),
    )


def _totals(config: Config, as_of: dt.date) -> list[Total]:
    """The sums that sources.yml declares, over the tables' state at the end of ``as_of``."""
    cutoff = config.sources.day_end(as_of)
    found = []
    for source_name, source in config.sources.sources.items():
        for name, table in source.tables.items():
            if table.total is None:
                continue
            mart, _, column = table.total.of.partition(".")
            state_of = _rows_at("*", f"raw.{quote(source_name)}.{quote(name)}", table, cutoff)
            value, where = table.total.value, table.total.where
            found.append(Total(source_name, name, state_of, value, where, mart, column))
    return found


def _rows_at(columns: str, relation: str, table: Table, cutoff: dt.datetime) -> str:
    """SQL of the last version of each row of raw ``relation`` before ``cutoff``."""
    key = ", ".join(quote(column) for column in table.key)
    return (
        f"select {columns} from {relation} where _version_at < timestamp {literal(str(cutoff))} "
        f"qualify row_number() over (partition by {key} order by {raw.LAST_FIRST}) = 1 "
        "and not _is_deleted"
    )
