"""Consents as they stand at the moment of sending, not as they stood when the snapshot was built.

What belongs here: the mart ``consents`` brought up to date from what has landed since. What does
not: what a consent allows (``lawful``).

A source's consents are understood by its staging model, in one place. That model is rendered here
once more over the newest landed rows instead of the raw layer, which a build may be writing.
"""

import functools
import re
from collections.abc import Callable
from pathlib import Path

import duckdb

from customer360 import landing
from customer360.config import Config
from customer360.content import has_table
from customer360.contracts import typed_value
from customer360.exceptions import DeliveryError
from customer360.macros import ENVIRONMENT, load_macros
from customer360.settings import Settings
from customer360.transform import staging_models
from customer360.warehouse import literal, quote

ENTITY = "consents"
NOW = "consents_now"
"""The temporary table: customer_id, purpose, channel, is_granted, moment."""


def stamp(settings: Settings, config: Config) -> tuple[str, ...]:
    """What has landed of every table that feeds consents; changes when something new has."""
    return tuple(
        str(path.relative_to(settings.landing_dir))
        for source, table in _tables(config)
        for path in sorted((settings.landing_dir / source / table).glob("*/*/*"))
        if path.name in ("manifest.json", landing.REFUSED)
    )


def bring_up_to_date(
    connection: duckdb.DuckDBPyConnection, settings: Settings, config: Config, built_at: str
) -> None:
    """Make :data:`NOW` from the attached ``snapshot`` and every batch landed since ``built_at``.

    Args:
        built_at: moment at which the run of the snapshot began, in ISO form, UTC: what had landed
            by then is in it.
    """
    connection.execute(
        f"create or replace temp table {NOW} (source varchar, consent_id varchar, "
        "customer_id varchar, purpose varchar, channel varchar, is_granted boolean, "
        "moment timestamp)"
    )
    if not has_table(connection, "snapshot", ENTITY):
        return
    moment = (
        "coalesce(case when is_granted then captured_at else withdrawn_at end, captured_at, "
        "timestamp '1970-01-01')"
    )
    columns = f"source, consent_id, customer_id, purpose, channel, is_granted, {moment}"
    connection.execute(
        f"insert into {NOW} select {columns} from snapshot.{ENTITY} where customer_id is not null"
    )
    for path in _models(config):
        tables: list[tuple[str, str]] = []
        sql = render(path, functools.partial(_name, tables))
        batches = {each: _standing(settings, *each) for each in tables}
        # Seconds are all that a manifest tells: of the same second counts as later.
        if not any(b.landed_at[:19] >= built_at[:19] for some in batches.values() for b in some):
            continue
        for (source, table), standing in batches.items():
            _load_state(connection, settings, config, source, table, standing)
        source = path.parent.name
        connection.execute(f"delete from {NOW} where source = {literal(source)}")
        connection.execute(
            f"insert into {NOW} select {literal(source)}, facts.consent_id, who.customer_id, "
            f"facts.purpose, facts.channel, facts.is_granted, {moment} from ({sql}) as facts "
            "inner join (select identifier_type, identifier_value, min(customer_id) as customer_id "
            f"from snapshot.customer_identifiers where {present(connection)} group by all) as who "
            "on facts.identifier_type = who.identifier_type "
            "and facts.identifier_value = who.identifier_value"
        )


def present(connection: duckdb.DuckDBPyConnection) -> str:
    """Condition for identifiers that a customer has now; older snapshots know no others."""
    columns = [row[0] for row in connection.execute(
        "describe snapshot.customer_identifiers").fetchall()]  # fmt: skip
    return "learned_to is null" if "learned_to" in columns else "true"


def render(path: Path, rows_of: Callable[..., str]) -> str:
    """A staging model's SQL with ``rows_of(source, table)`` in the place of ``source_rows``.

    Raises:
        DeliveryError: the model uses what is known to dbt alone.
    """
    import jinja2

    # The column by which increments are cut is of no use here.
    known = {"source_rows": rows_of, "piece": lambda _column: "null"}
    macros = load_macros("engines.sql", "formats.sql", "times.sql", "names.sql", **known)
    try:
        return ENVIRONMENT.from_string(path.read_text(encoding="utf-8")).render(**macros)
    except jinja2.UndefinedError as error:
        raise DeliveryError(
            f"{path.name}: consents are read again at the moment of sending, where only "
            f"source_rows and the macros of engines, formats, times and names are known: {error}"
        ) from None


def _models(config: Config) -> list[Path]:
    return [
        path
        for path in staging_models()
        if path.parent.name in config.sources.sources and path.stem.endswith(f"__{ENTITY}")
    ]


def _tables(config: Config) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for path in _models(config):
        text = path.read_text(encoding="utf-8")
        found += re.findall(r"source_rows\('(\w+)', *'(\w+)'", text)
    return found


def _name(seen: list[tuple[str, str]], source: str, table: str, piece: str | None = None) -> str:  # noqa: ARG001, the macro's
    """Where the landed rows of a table stand; every table that is asked for is noted."""
    seen.append((source, table))
    return quote(f"landed_{source}__{table}")


def _standing(settings: Settings, source: str, table: str) -> list[landing.Batch]:
    """Batches that count: neither refused by their gate nor corrected by another."""
    there = [
        batch
        for batch in landing.batches(settings, source, table)
        if not (batch.folder(settings) / landing.REFUSED).exists()
    ]
    gone = {(batch.as_of, batch.supersedes) for batch in there if batch.supersedes}
    return [batch for batch in there if (batch.as_of, batch.batch) not in gone]


def _load_state(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    config: Config,
    source: str,
    table: str,
    standing: list[landing.Batch],
) -> None:
    """The newest version of each key that has landed, without keys that a later sweep missed."""
    contract = config.sources.sources[source].tables[table]
    if standing and standing[-1].mode == "full":
        standing = standing[-1:]
    parts, sweep = [], None
    for place, batch in enumerate(standing):
        file = batch.folder(settings) / "rows.parquet"
        if batch.is_sweep:
            sweep = (place, batch.folder(settings) / "keys.parquet")
        found = {
            row[0]: row[1]
            for row in connection.execute(f"describe from read_parquet({literal(file)})").fetchall()
        }
        cells = ", ".join(
            f"{typed_value(name, column, found[name], config.sources)} as {quote(name)}"
            if name in found
            else f"null as {quote(name)}"
            for name, column in contract.columns.items()
        )
        parts.append(f"select {cells}, {place} as _place from read_parquet({literal(file)})")
    key = ", ".join(map(quote, contract.key))
    newest = f"{quote(contract.cursor.column)} desc nulls last, " if contract.cursor else ""
    target = quote(f"landed_{source}__{table}")
    connection.execute(
        f"create or replace temp table {target} as select * from "
        f"({' union all by name '.join(parts)}) qualify row_number() over "
        f"(partition by {key} order by {newest}_place desc) = 1"
    )
    if sweep and sweep[1].exists():
        match = " and ".join(
            f"keys.{quote(name)}::varchar = rows.{quote(name)}::varchar" for name in contract.key
        )
        connection.execute(
            f"delete from {target} as rows where _place <= {sweep[0]} and not exists "
            f"(select 1 from read_parquet({literal(sweep[1])}) as keys where {match})"
        )
