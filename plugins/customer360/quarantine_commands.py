"""``customer360 quarantine``: rows that broke their contract, and their way back."""

import json
from pathlib import Path

import click

from customer360 import corrections
from customer360.config import Config, load_config
from customer360.exceptions import Customer360Error
from customer360.settings import Settings, load_settings


@click.group()
def quarantine() -> None:
    """Source rows that broke their contract."""


@quarantine.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def list_(as_json: bool) -> None:
    """How many rows each rule has set aside.

    Example: customer360 quarantine list
    """
    groups = _read(
        "select source, table_name, as_of::varchar as as_of, batch, rule, column_name, "
        "any_value(reason) as reason, "
        "min(file) as first_file, count(*) as rows from meta.quarantine "
        "group by all order by all"
    )
    if as_json:
        click.echo(json.dumps({"groups": groups}))
        return
    if not groups:
        click.echo("nothing is in quarantine")
    for group in groups:
        click.echo(
            f"{group['source']}.{group['table_name']} {group['batch']}: {group['rows']} rows: "
            f"{group['reason']}{_in_file(group['first_file'])}"
        )


@quarantine.command()
@click.argument("source")
@click.argument("table")
@click.option("--limit", default=20, show_default=True, help="How many rows.")
@click.option("--rows/--no-rows", default=False, help="Show the rows too: they hold personal data.")
@click.option("--out", type=click.Path(path_type=Path), help="Write all rows there, to correct.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def show(source: str, table: str, limit: int, rows: bool, out: Path | None, as_json: bool) -> None:
    """Rows of one table that were set aside, by position in their file.

    With --out the rows themselves are written as CSV, readable by you alone; correct them there
    and give them to `quarantine replay`.

    Example: customer360 quarantine show till transactions --out fix.csv
    """
    if out:
        settings, config = _declared(source, table)
        count = corrections.write_out(settings, config, source, table, out)
        click.echo(f"{count} rows written to {out}", err=True)
        return
    columns = "batch, file, position, rule, column_name, reason" + (", row_json" if rows else "")
    found = _read(
        f"select {columns} from meta.quarantine where source = ? and table_name = ? "
        "order by batch, file, position limit ?",
        [source, table, limit],
    )
    if as_json:
        click.echo(json.dumps({"rows": found}, ensure_ascii=False))
        return
    for row in found:
        text = f"  {row['row_json']}" if rows else ""
        place = f"row {row['position']}{_in_file(row['file'])}"
        click.echo(f"{row['batch']} {place}: {row['reason']}{text}")
    if not found:
        click.echo(f"no row of {source}.{table} is in quarantine")


@quarantine.command()
@click.argument("source")
@click.argument("table")
@click.option(
    "--from",
    "corrected",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Corrected rows, as `quarantine show --out` wrote them.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def replay(source: str, table: str, corrected: Path | None, as_json: bool) -> None:
    """Take quarantined rows in again, as if they had been good from the start.

    With --from, corrected rows replace those of their batch; without it you learn how many rows the
    contract in sources.yml would accept as it stands now. The next run loads them.

    Example: customer360 quarantine replay till transactions --from fix.csv
    """
    settings, config = _declared(source, table)
    if corrected is None:
        found = corrections.rejudge(settings, config, source, table)
        told = f"{found['passes']} of {found['quarantined']} rows would be accepted now"
    else:
        landed = list(corrections.replay(settings, config, source, table, corrected))
        found = {"batches": len(landed), "corrected": sum(count for _, count in landed)}
        told = f"{found['corrected']} rows corrected in {found['batches']} batches"
    if as_json:
        click.echo(json.dumps(found))
    else:
        click.echo(f"{told}; the next run judges them and loads those that are good")


def _declared(source: str, table: str) -> tuple[Settings, Config]:
    """Settings and configuration, in which the table is declared and something is loaded."""
    settings = load_settings()
    config = load_config(settings)
    declared = config.sources.sources.get(source)
    if declared is None or table not in declared.tables:
        raise Customer360Error(f"sources.yml has no table {source}.{table} for {settings.company}")
    if not settings.raw_path.exists():
        raise Customer360Error(f"company {settings.company} has loaded nothing yet: make run")
    return settings, config


def _in_file(file: object) -> str:
    return f" ({file})" if file else ""


def _read(query: str, parameters: list[object] | None = None) -> list[dict[str, object]]:
    from customer360.warehouse import connect

    settings = load_settings()
    if not settings.raw_path.exists():
        raise Customer360Error(f"company {settings.company} has loaded nothing yet: make run")
    with connect(settings, settings.raw_path, read_only=True) as connection:
        cursor = connection.execute(query, parameters or [])
        names = [column[0] for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
