"""``customer360 source ...``: what is declared and how fresh, whether it can be read, a new one.

What belongs here: options, messages and tables for people. What does not: reading a source
(``customer360.sources``), guessing what it holds (``sources.inspection``), or writing files
(``scaffold``).
"""

import contextlib
import datetime as dt
import tempfile
from pathlib import Path
from typing import Any

import click

from customer360.config import (
    DATABASE_FORMATS,
    FILE_FORMATS,
    IDENTIFIER,
    SCALES,
    Config,
    Table,
    load_config,
)
from customer360.exceptions import ConfigError, Customer360Error, SourceError
from customer360.output import JSON_OPTION, print_json
from customer360.settings import Settings, load_settings

SHOWN_ROWS = 10
FORMATS = (*FILE_FORMATS, *DATABASE_FORMATS, "rest")


@click.group()
def source() -> None:
    """Source systems: how fresh, whether they can be read, a new one.

    Example: customer360 source check till
    """


# --- list -------------------------------------------------------------------------------------


@source.command("list")
@JSON_OPTION
def list_(as_json: bool) -> None:
    """Each source: how fresh, by which cursor, rows of its last batch and in quarantine, and the
    field that came in worst (complete, accurate, timely, compliant; trust in policies.yml).

    A table is stale where the last day is missing, or its newest row is older than
    freshness.warn_after_days of sources.yml allows.

    Example: customer360 source list
    """
    settings = load_settings()
    found = describe_sources(settings, load_config(settings))
    if as_json:
        print_json(found)
        return
    click.echo(f"{settings.company} as of {found['as_of'] or 'no day yet'}")
    for name, described in found["sources"].items():
        click.echo(f"\n{name}: {described['title']} ({described['format']}): {described['status']}")
        for table, row in described["tables"].items():
            cursor = f"by {row['cursor']}" if row["cursor"] else "whole"
            read = "never read"
            if row["as_of"]:
                read = (
                    f"{row['rows']:>11,} rows on {row['as_of']}  newest "
                    f"{str(row['newest'] or '-')[:16]:<16}  quarantined {row['quarantined'] or 0:,}"
                )
            click.echo(f"  {table:<24} {row['status']:<6} {cursor:<22} {read}")
        if described["worst_field"]:
            click.echo(f"  worst field: {_worst_in_words(described['worst_field'])}")


def _worst_in_words(worst: dict[str, Any]) -> str:
    from customer360.trust import percent

    shares = ", ".join(
        f"{scale} {percent(worst[scale])}" for scale in SCALES if worst[scale] is not None
    )
    return f"{worst['field']}: {shares} on {worst['as_of']}" + (
        " (weak)" if worst["is_weak"] else ""
    )


def describe_sources(settings: Settings, config: Config) -> dict[str, Any]:
    """What ``source list`` tells, as one object."""
    from customer360 import landing, pipeline, trust

    last: dict[tuple[str, str], landing.Batch] = {}
    for batch in landing.batches(settings):
        last[batch.source, batch.table] = batch
    extracted = {name: str(day) for name, day in pipeline.last_extracted(settings).items()}
    as_of = max([*extracted.values(), *(batch.as_of for batch in last.values())], default=None)
    newest, quarantined, measured = _look_into_raw(settings, config)
    sources = {}
    for name, declared in config.sources.sources.items():
        tables = {}
        for table_name, table in declared.tables.items():
            found = last.get((name, table_name))
            row: dict[str, Any] = {
                "status": "never",
                "cursor": table.cursor.column if table.cursor else None,
                "as_of": found.as_of if found else None,
                "rows": found.rows + found.rejects if found else None,
                "newest": newest.get((name, table_name)),
                "quarantined": quarantined.get((name, table_name), 0) if found else None,
            }
            if found and as_of:
                read_on = max(found.as_of, extracted.get(name, ""))
                row["status"] = _status(config, table, read_on, row["newest"], as_of)
            tables[table_name] = row
        states = [row["status"] for row in tables.values()]
        sources[name] = {
            "title": declared.title,
            "format": declared.format,
            "status": next(state for state in ("never", "stale", "fresh") if state in states),
            "worst_field": _described(
                trust.worst(measure for measure in measured if measure.source == name)
            ),
            "tables": tables,
        }
    return {"as_of": as_of, "sources": sources}


def _described(worst: Any) -> dict[str, Any] | None:
    """A measure of ``customer360.trust`` as one object."""
    if worst is None:
        return None
    return {
        "field": worst.field.partition(".")[2],
        "as_of": worst.day.isoformat(),
        **worst.shares,
        "is_weak": bool(worst.weaknesses),
    }


def _status(
    config: Config, table: Table, read_on: str, newest: dt.datetime | None, as_of: str
) -> str:
    """``stale`` where the day is missing, or the newest row is older than the contract allows."""
    if read_on < as_of:
        return "stale"
    allowed = table.freshness.warn_after_days
    if allowed is None or not table.cursor:
        return "fresh"
    end = config.sources.day_end(dt.date.fromisoformat(as_of))
    is_old = newest is None or newest < end - dt.timedelta(days=allowed)
    return "stale" if is_old else "fresh"


def _look_into_raw(
    settings: Settings, config: Config
) -> tuple[dict[tuple[str, str], dt.datetime], dict[tuple[str, str], int], list[Any]]:
    """Newest row of each table with a cursor (UTC), rows in quarantine, measures of fields."""
    from customer360 import trust
    from customer360.warehouse import connect, quote

    newest: dict[tuple[str, str], dt.datetime] = {}
    quarantined: dict[tuple[str, str], int] = {}
    measured: list[Any] = []
    if not settings.raw_path.exists():
        return newest, quarantined, measured
    with connect(settings, settings.raw_path, read_only=True) as connection:
        known = set(
            connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
        )
        for name, declared in config.sources.sources.items():
            for table_name, table in declared.tables.items():
                if table.cursor and (name, table_name) in known:
                    moment = connection.execute(
                        f"select max({quote(table.cursor.column)})::timestamp "
                        f"from {quote(name)}.{quote(table_name)} where not _is_deleted"
                    ).fetchall()[0][0]
                    if moment is not None:
                        newest[name, table_name] = moment
        if ("meta", "quarantine") in known:
            for name, table_name, count in connection.execute(
                "select source, table_name, count(*) from meta.quarantine group by all"
            ).fetchall():
                quarantined[name, table_name] = count
        if ("meta", "collection_counts") in known:
            measured = trust.measures(connection, config, dt.date.max)
    return newest, quarantined, measured


# --- check ------------------------------------------------------------------------------------


@source.command()
@click.argument("name")
@click.option("--table", "tables", multiple=True, help="Only this table; may be given again.")
@JSON_OPTION
def check(name: str, tables: tuple[str, ...], as_json: bool) -> None:
    """Reach a source, compare it with its contract, show ten rows with personal values masked.

    Ends with exit code 1 if it cannot be reached or differs from its contract in a way that
    policies.yml does not accept.

    Example: customer360 source check till --table transactions
    """
    settings = load_settings()
    config = load_config(settings)
    declared = config.sources.sources.get(name)
    if declared is None:
        raise ConfigError(
            f"sources.yml has no source '{name}' for {settings.company}; it has "
            f"{', '.join(config.sources.sources)}"
        )
    unknown = [table for table in tables if table not in declared.tables]
    if unknown:
        raise ConfigError(
            f"source {name} has no table {', '.join(unknown)}; it has {', '.join(declared.tables)}"
        )
    checked, problems = check_source(settings, config, name, list(tables or declared.tables))
    if as_json:
        print_json({"source": name, "ok": not problems, "tables": checked})
    else:
        for table, found in checked.items():
            _show(name, table, found)
    if problems:
        raise SourceError("\n".join(problems))


def check_source(
    settings: Settings, config: Config, name: str, tables: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """table -> what was found of it, and what is wrong."""
    from customer360.sources import open_session

    checked: dict[str, Any] = {}
    problems: list[str] = []
    with contextlib.ExitStack() as stack:
        session = open_session(settings, name, config.sources.sources[name])
        stack.callback(session.close)
        for table in tables:
            found: dict[str, Any] = {"ok": True, "notes": [], "columns": [], "rows": []}
            checked[table] = found
            try:
                _check_table(settings, config, name, table, session, found)
            except Customer360Error as error:
                found["ok"] = False
                found["problem"] = str(error)
                problems.append(str(error))
    return checked, problems


def _check_table(
    settings: Settings, config: Config, name: str, table: str, session: Any, found: dict[str, Any]
) -> None:
    import duckdb

    from customer360 import clock
    from customer360.contracts import check_schema
    from customer360.personal import MASK, mask
    from customer360.sources.relation import Reading
    from customer360.warehouse import connect, first_line, quote

    declared = config.sources.sources[name]
    contract = declared.tables[table]
    full_name = f"{name}.{table}"
    drift = config.policies.drift
    as_of = clock.newest_day(settings, config.sources)
    known = session.columns(table, contract)
    if known is not None:
        check_schema(full_name, contract, known, drift)
    with tempfile.TemporaryDirectory() as folder, connect(settings) as ours:
        connection = session.connection or ours
        reading = Reading(
            settings=settings,
            company=config.sources,
            source_name=name,
            source=declared,
            table_name=table,
            table=contract,
            as_of=as_of,
            start=None,
            end=config.sources.day_end(as_of),
            taken=(),
            is_sweep=False,
            workspace=Path(folder) / "reading",
            is_sample=True,
        )
        relation = session.relation(connection, reading)
        columns = list(relation.columns)
        names = ", ".join(quote(column) for column in columns)
        try:
            with relation.guard():
                rows = connection.execute(
                    f"select {names} from ({relation.sql}) limit {SHOWN_ROWS}"
                ).fetchall()
        except duckdb.Error as error:
            raise SourceError(f"{full_name}: reading stopped: {first_line(error)}") from None
        found["columns"] = columns
        found["rows"] = [
            [
                # What nobody has declared may be anything.
                mask(value, contract.columns[column].personal)
                if column in contract.columns
                else (MASK if value is not None else "")
                for column, value in zip(columns, row, strict=True)
            ]
            for row in rows
        ]
        found["notes"] = check_schema(full_name, contract, relation.columns, drift).notes
    if not rows and not contract.may_be_empty:
        raise SourceError(f"{full_name}: it holds no row (may_be_empty: true allows that)")


def _show(name: str, table: str, found: dict[str, Any]) -> None:
    """A table for people: as columns where they fit, else a block a row."""
    click.echo(f"\n{name}.{table}: {'as declared' if found['ok'] else 'NOT as declared'}")
    for note in found["notes"]:
        click.echo(f"  accepted: {note}")
    columns, rows = found["columns"], found["rows"]
    if not rows:
        return
    widths = [
        max(_width(column), *(_width(row[index]) for row in rows))
        for index, column in enumerate(columns)
    ]
    if sum(widths) + 2 * len(widths) <= 150:
        for line in (columns, *rows):
            cells = (
                cell + " " * (width - _width(cell))
                for cell, width in zip(line, widths, strict=True)
            )
            click.echo("  " + "  ".join(cells).rstrip())
        return
    width = max(_width(column) for column in columns)
    for number, row in enumerate(rows, start=1):
        click.echo(f"  row {number}")
        for column, cell in zip(columns, row, strict=True):
            shown = cell if len(cell) <= 100 else f"{cell[:100]}..."
            click.echo(f"    {column}{' ' * (width - _width(column))}  {shown}")


def _width(text: str) -> int:
    """Columns of a terminal that a text fills; Chinese characters fill two."""
    import unicodedata

    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


# --- add --------------------------------------------------------------------------------------


@source.command()
@click.argument("name")
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="What it is.")
@click.option("--connection", help="Airflow Connection of a database or web service.")
@click.option("--path", help="Folder of files; $NAME and paths below this project are understood.")
@click.option(
    "--table",
    "tables",
    multiple=True,
    help="Only this file, table or resource; may be given again. A web service needs it.",
)
@click.option("--title", help="What people call it; NAME if not given.")
@click.option("--owner", default="data-engineering", show_default=True, help="Who answers for it.")
@click.option(
    "--stage",
    type=click.Choice(["basic", "behavioural", "active"]),
    default="basic",
    show_default=True,
    help="What it tells: who customers are, what they do, what they say when asked.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be written.")
@JSON_OPTION
def add(
    name: str,
    form: str,
    connection: str | None,
    path: str | None,
    tables: tuple[str, ...],
    title: str | None,
    owner: str,
    stage: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Look at a system and declare it: contract, first staging models, a table in the snapshot.

    Types, keys and personal classes are guesses: each is said, and a person looks at them.

    Example: customer360 source add web --format csv --path /srv/drops/web
    """
    from customer360 import scaffold
    from customer360.sources.inspection import inspect

    if not IDENTIFIER.fullmatch(name):
        raise click.BadParameter(
            "lower case letters, digits and underscores, beginning with a letter", param_hint="NAME"
        )
    is_file = form in FILE_FORMATS
    if is_file and not path:
        raise click.UsageError(f"format {form} needs --path")
    if not is_file and (not connection or path):
        raise click.UsageError(f"format {form} needs --connection, and no --path")
    settings = load_settings()
    company = load_config(settings).sources
    scaffold.refuse_known(settings, name)
    system: dict[str, Any] = {
        "title": title or name,
        "owner": owner,
        "stage": stage,
        "format": form,
    }
    system |= {key: value for key, value in (("connection", connection), ("path", path)) if value}
    click.echo(f"looking at {name} ...", err=True)
    found = inspect(settings, company, name, system, tables)
    addition = scaffold.compose(name, system, found)
    if dry_run:
        click.echo(f"# {settings.config_dir / 'sources.yml'}\n{addition.declaration}")
        for file, text in addition.files.items():
            click.echo(f"# {file}\n{text}")
        return
    written = scaffold.write(settings, name, addition)
    if as_json:
        print_json(
            {
                "source": name,
                "files": [str(file) for file in written],
                "tables": {
                    table.name: {
                        "key": table.key,
                        "cursor": table.cursor,
                        "personal": {
                            column.name: column.personal
                            for column in table.columns
                            if column.personal != "none"
                        },
                        "published": addition.published.get(table.name),
                        "remarks": table.remarks,
                    }
                    for table in found
                },
            }
        )
        return
    for table in found:
        _tell(table, addition.published.get(table.name))
    click.echo("\nwritten:")
    for file in written:
        click.echo(f"  {file}")
    click.echo(
        f"\nnext: look at the entry in sources.yml (types, key, personal, owner), then\n"
        f"  customer360 source check {name}\n  make run"
    )


def _tell(table: Any, published: str | None) -> None:
    click.echo(f"\n{table.name}: {len(table.columns)} columns")
    click.echo(f"  key: {', '.join(table.key)}" + ("" if table.is_key_known else " (a guess)"))
    personal = [
        f"{each.name} ({each.personal})" for each in table.columns if each.personal != "none"
    ]
    click.echo(f"  personal, by their looks: {', '.join(personal) or 'none'}")
    for remark in table.remarks:
        click.echo(f"  look at: {remark}")
    if published:
        click.echo(f"  in the snapshot: {published}")
    else:
        click.echo("  not in the snapshot: its key is personal; write a mart that leaves it out")
