"""``customer360 status``, ``quarantine`` and ``dbt``: what came of a run, and looking into it."""

import json

import click

from customer360.exceptions import Customer360Error
from customer360.settings import load_settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def status(as_json: bool) -> None:
    """What the last run read, checked, published and exported.

    Example: customer360 status --json
    """
    from customer360 import pipeline

    found = pipeline.status(load_settings())
    click.echo(json.dumps(found, indent=1) if as_json else pipeline.format_summary(found))


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
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def show(source: str, table: str, limit: int, rows: bool, as_json: bool) -> None:
    """Rows of one table that were set aside, by position in their file.

    Example: customer360 quarantine show till transactions
    """
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


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dbt(arguments: tuple[str, ...]) -> None:
    """Run dbt by hand with this company's sources, rules and last as-of day.

    It works on a file of its own, never on what is published. Without ARGUMENTS it writes the dbt
    sources into dbt_project/, for linters and editors.

    Example: customer360 dbt build --select order_lines
    """
    from customer360 import state
    from customer360.config import load_config
    from customer360.transform import DBT_PROJECT, GENERATED, dbt_sources, run_dbt

    settings = load_settings()
    config = load_config(settings)
    if not arguments:
        generated = DBT_PROJECT / "models" / "staging" / GENERATED
        generated.write_text(dbt_sources(settings), encoding="utf-8")
        return
    engine = state.engine(settings)
    state.ensure(engine)
    run = state.last_run(engine)
    if run is None:
        raise Customer360Error(f"company {settings.company} has loaded nothing yet: make run")
    marts = settings.data_dir / "dbt" / "customer360.duckdb"
    marts.parent.mkdir(parents=True, exist_ok=True)
    counts = run_dbt(settings, config, run["as_of"], marts, list(arguments))
    click.echo(", ".join(f"{count} {status}" for status, count in counts.items()), err=True)
