"""``customer360 status`` and ``dbt``: what came of a run, and looking into it."""

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
    from customer360 import run_status

    found = run_status.status(load_settings())
    click.echo(json.dumps(found, indent=1) if as_json else run_status.format_summary(found))


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
    engine = state.opened(settings)
    run = state.last_run(engine)
    if run is None:
        raise Customer360Error(f"company {settings.company} has loaded nothing yet: make run")
    marts = settings.data_dir / "dbt" / "customer360.duckdb"
    marts.parent.mkdir(parents=True, exist_ok=True)
    counts = run_dbt(settings, config, run["as_of"], marts, list(arguments))
    click.echo(", ".join(f"{count} {status}" for status, count in counts.items()), err=True)
