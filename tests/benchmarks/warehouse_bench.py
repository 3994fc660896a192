"""The warehouse at size: a full build, one more day, and the same SQL as one script.

What belongs here: a raw file as big as asked for, made of a demo company's world without its ten
systems; the steps that build, timed; the script. What does not: extraction and loading
(``chain_bench``, ``extract_bench``), scores, reading (``lookup_bench``).

The script is what dbt compiled, run model after model over one connection: no contracts, comments,
tests, no view made twice, nothing kept for the next night.
"""

import contextlib
import datetime as dt
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import duckdb

from customer360 import collection_quality, increments, pipeline, raw, transform, vault
from customer360.config import Column, Config, Table, load_config
from customer360.contracts import sql_type
from customer360.identity import engine
from customer360.publish import snapshot_path
from customer360.settings import Settings, load_settings
from customer360.warehouse import connect, literal, quote
from tests.collect.test_demo_company import SYSTEM, WORLD_NAMES, expected_cell
from tests.pipeline.nights import publish_built


def fill_raw(settings: Settings, config: Config, world: Path, night: int) -> tuple[dt.date, int]:
    """Load what the systems show at the end of a night after the start; the day, and rows added."""
    with connect(settings, settings.raw_path) as connection:
        connection.execute(raw.META)
        collection_quality.prepare(connection, config)
        connection.execute(f"attach {literal(world)} as world (read_only)")
        info = dict(connection.execute("select key, value from world.meta.info").fetchall())
        day = dt.date.fromisoformat(info["start_date"]) + dt.timedelta(days=night)
        shown_day = int(info["start_day"]) + night
        mutable = {
            (system, name): is_mutable
            for system, name, is_mutable in connection.execute(
                "select system, table_name, mutable from world.meta.tables"
            ).fetchall()
        }
        added = 0
        for source, declared in config.sources.sources.items():
            for name, table in declared.tables.items():
                system = SYSTEM.get(source, source)
                rows = "select null where false"  # answers to us come from no system of the world
                if (system, name) in mutable:
                    seen = f"_from_day <= {shown_day}"
                    if mutable[system, name]:
                        seen += f" and (_to_day is null or _to_day > {shown_day})"
                    rows = f"select * from world.{system}.{quote(name)} where {seen}"
                added += _fill_table(connection, source, name, table, rows, day)
        connection.execute("checkpoint")
    return day, added


def _fill_table(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    name: str,
    table: Table,
    rows: str,
    day: dt.date,
) -> int:
    relation = f"{quote(source)}.{quote(name)}"
    columns = [quote(column) for column in table.columns]
    there = {column for column, *_ in connection.execute(f"describe {rows}").fetchall()}
    cells = ", ".join(
        f"{_cell(source, column_name, column, there)} as {quote(column_name)}"
        for column_name, column in table.columns.items()
    )
    definitions = ", ".join(
        f"{quote(column_name)} {sql_type(column)}" for column_name, column in table.columns.items()
    )
    connection.execute(f"create schema if not exists {quote(source)}")
    connection.execute(
        f"create table if not exists {relation} ({definitions}, _version_at timestamp, "
        "_as_of date, _is_deleted boolean, _row_hash uhugeint, _batch varchar)"
    )
    key = ", ".join(map(quote, table.key))
    end = f"timestamp '{day}' + interval 15 hour + interval 59 minute"
    at = f"{quote(table.cursor.column)}::timestamp" if table.cursor else end
    batch = f"{day}/0001-bench"
    text = ", ".join(f"coalesce({column}::varchar, chr(30))" for column in columns)
    same = " and ".join(f"held.{quote(column)} = shown.{quote(column)}" for column in table.key)
    before = connection.execute(f"select count(*) from {relation}").fetchall()[0][0]
    connection.execute(
        f"create or replace temp table shown as select *, md5_number(concat_ws(chr(31), {text})) "
        f"as _row_hash, least({at}, {end}) as _at from (select {cells} from ({rows}))"
    )
    connection.execute(
        f"create or replace temp table held as select {key}, _row_hash, _version_at, _is_deleted "
        f"from {relation} qualify row_number() over (partition by {key} "
        f"order by {raw.LAST_FIRST}) = 1"
    )
    connection.execute(
        f"insert into {relation} select {', '.join(f'shown.{column}' for column in columns)}, "
        "greatest(_at, held._version_at + interval 1 microsecond), "
        f"date '{day}', false, shown._row_hash, '{batch}' from shown left join held on {same} "
        "where held._row_hash is distinct from shown._row_hash"
    )
    connection.execute(
        f"insert into {relation} select {', '.join(f'gone.{column}' for column in columns)}, "
        f"{end}, date '{day}', true, _row_hash, '{batch}' from {relation} as gone where exists "
        f"(select 1 from held where {same.replace('shown.', 'gone.')} and not held._is_deleted "
        f"and held._row_hash = gone._row_hash) and not exists (select 1 from shown as held "
        f"where {same.replace('shown.', 'gone.')}) and gone._batch <> '{batch}'"
    )
    after = connection.execute(f"select count(*) from {relation}").fetchall()[0][0]
    connection.execute(
        "insert or replace into meta.tables by name select ? as source, ? as table_name, "
        "'bench' as contract, 'bench' as generation",
        [source, name],
    )
    connection.execute(
        "insert into meta.batches values (?, ?, ?, ?, 'full', ?, ?, 0, 0, 'bench', true)",
        [source, name, day, batch, after - before, after - before],
    )
    return int(after - before)


def _cell(source: str, name: str, column: Column, there: set[str]) -> str:
    """A column of the world as raw holds it; what only the system's own format adds is null."""
    if WORLD_NAMES.get((source, name), name) not in there:
        return f"null::{sql_type(column)}"
    if column.type == "json":
        return f"{quote(name)}::varchar::{sql_type(column)}"
    return expected_cell(source, name, column)


def night(settings: Settings, day: dt.date, run_id: str) -> dict[str, Any]:
    """Resolve, build and publish; seconds of each, and of dbt and of identity in them."""
    told: dict[str, Any] = {"dbt": 0.0, "identity": 0.0}
    with (
        _timed(transform, "run_dbt", told, "dbt"),
        _timed(engine, "resolve_company", told, "identity"),
    ):
        for name, work in (
            ("begin", pipeline.begin),
            ("resolve", pipeline.resolve_identities),
            ("build", pipeline.build_marts),
            ("publish", publish_built),
        ):
            began = time.perf_counter()
            done = work(settings, day, run_id)
            told[name] = round(time.perf_counter() - began, 1)
            if name == "resolve":
                told["why_full"] = done["why_full"]
    told["all"] = round(sum(told[name] for name in ("begin", "resolve", "build", "publish")), 1)
    return {**told, "snapshot_mb": _mb(snapshot_path(settings))}


@contextlib.contextmanager
def _timed(module: Any, function: str, told: dict[str, Any], name: str) -> Iterator[None]:
    """Add the seconds of each call of a module's function to ``told[name]``."""
    work = getattr(module, function)

    def timed(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return work(*arguments, **options)
        finally:
            told[name] = round(told[name] + time.perf_counter() - began, 1)

    setattr(module, function, timed)
    try:
        yield
    finally:
        setattr(module, function, work)


def script(settings: Settings, folder: Path) -> dict[str, Any]:
    """Run what dbt compiled for the last full build, in new files; seconds and size."""
    manifest = json.loads((settings.data_dir / "dbt" / "manifest.json").read_text("utf-8"))
    compiled = {
        path.stem: path.read_text(encoding="utf-8")
        for path in (settings.data_dir / "dbt" / "compiled").rglob("models/**/*.sql")
    }
    models = [node for node in _in_order(manifest["nodes"]) if node["name"] in compiled]
    marts = folder / pipeline.MARTS_FILE
    with connect(settings, marts) as connection:
        kept = literal(increments.kept_path(settings))
        connection.execute(f"attach {literal(settings.raw_path)} as raw (read_only)")
        connection.execute(f"attach {literal(folder / transform.VAULT_FILE)} as vault")
        connection.execute(f"attach {kept} as kept (read_only)")
        connection.execute(f"attach {literal(folder / transform.WORKSPACE_FILE)} as workspace")
        connection.execute("use workspace")
        vault.install(connection, settings)
        connection.execute("create schema identity; create schema unify; create schema staging")
        for (table,) in connection.execute(
            "select table_name from duckdb_tables() where database_name = 'kept' "
            "and schema_name = 'identity'"
        ).fetchall():
            connection.execute(f"create table identity.{table} as from kept.identity.{table}")
        connection.execute("create table unify.regions as from kept.unify.regions")
        connection.execute("use customer360")
        began = time.perf_counter()
        for node in models:
            name = f"{quote(node['database'])}.{quote(node['schema'])}.{quote(node['alias'])}"
            kind = "view" if node["config"]["materialized"] == "view" else "table"
            connection.execute(
                f"create schema if not exists {quote(node['database'])}.{quote(node['schema'])}"
            )
            connection.execute(f"create {kind} {name} as {compiled[node['name']]}")
        connection.execute("checkpoint")
        shutil.copyfile(marts, folder / "published.duckdb")
        spent = time.perf_counter() - began
    return {"seconds": round(spent, 1), "models": len(models), "snapshot_mb": _mb(marts)}


def targets(found: dict[str, Any]) -> list[tuple[str, float, float]]:
    """What was to be reached: its words, at most so much, and what was found."""
    full, script_took = found["full"], found["script"]
    rest = round(full["all"] - full["identity"], 1)
    told = [
        (
            "dbt build, s: 1.3 times the script + 40",
            1.3 * script_took["seconds"] + 40,
            full["dbt"],
        ),
        ("peak of the process, MiB", 4096, found["peak_mb"]),
        (
            "snapshot, MB: 1.2 times the script's",
            1.2 * script_took["snapshot_mb"],
            full["snapshot_mb"],
        ),
    ]
    for number, day in enumerate(found["days"], start=1):
        told += [
            (
                f"day {number} without identity, s: 5 % of full + 20",
                0.05 * rest + 20,
                round(day["all"] - day["identity"], 1),
            ),
            (
                f"day {number} with identity, s: 5 % of full + 20",
                0.05 * full["all"] + 20,
                day["all"],
            ),
        ]
    return told


def _in_order(nodes: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Models after those that they read."""
    done: set[str] = set()

    def visit(name: str) -> Iterator[dict[str, Any]]:
        if name in done or name not in nodes:
            return
        done.add(name)
        for before in nodes[name]["depends_on"].get("nodes", []):
            yield from visit(before)
        if nodes[name]["resource_type"] == "model":
            yield nodes[name]

    for name in nodes:
        yield from visit(name)


def _mb(path: Path) -> int:
    return round(path.stat().st_size / 1e6)


@click.command()
@click.option("--size", default="small", show_default=True, help="tiny, small, medium or large.")
@click.option("--world", type=click.Path(path_type=Path), help="A world that was made before.")
@click.option("--nights", default=1, show_default=True, help="Days after the full build.")
def main(size: str, world: Path | None, nights: int) -> None:
    """Print seconds and megabytes as one JSON object, and the targets.

    Example: python -m tests.benchmarks.warehouse_bench --size medium
    """
    from customer360.demo.world import generate

    with tempfile.TemporaryDirectory(prefix="c360-warehouse-") as folder:
        settings = replace(load_settings("demo"), data_dir=Path(folder) / "demo")
        settings.data_dir.mkdir()
        if world is None:
            world = Path(folder) / "world.duckdb"
            generate(world, Path(folder) / "truth.duckdb", size=size, seed=42, progress=_say)
        config = load_config(settings)
        day, rows = fill_raw(settings, config, world, 0)
        _say(f"{rows:,} rows; full build")
        found: dict[str, Any] = {"rows": rows, "full": night(settings, day, "full")}
        (Path(folder) / "script").mkdir()
        found["script"] = script(settings, Path(folder) / "script")
        found["days"] = []
        for number in range(1, nights + 1):
            day, added = fill_raw(settings, config, world, number)
            found["days"].append({"rows": added, **night(settings, day, f"day_{number}")})
        found["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    click.echo(json.dumps(found))
    click.echo(f"{'target':52}{'asked':>9}{'found':>9}")
    for words, asked, measured in targets(found):
        verdict = "reached" if measured <= asked else "MISSED"
        click.echo(f"{words:52}{asked:9.1f}{measured:9.1f}  {verdict}")


def _say(text: object) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()
