"""``customer360 export``: what was exported, and what receivers say they hold."""

import click

from customer360 import state
from customer360.activation import ledger
from customer360.output import JSON_OPTION, print_json
from customer360.settings import load_settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def export() -> None:
    """Exports: segments, alerts and id changes as files for downstream tools."""


@export.command(name="list")
@click.argument("name", required=False)
@JSON_OPTION
def list_(name: str | None, as_json: bool) -> None:
    """The ledger of exports, the last first.

    \b
    Example: customer360 export list segment_members
    """
    engine = state.opened(load_settings())
    rows = ledger.entries(engine, name)
    if as_json:
        print_json({"exports": [dict(row) for row in rows]})
        return
    for row in rows:
        click.echo(
            f"{row['destination']}  {row['version']}  {row['status']}  rows {row['rows']}"
            f"  added {row['rows_added']}  changed {row['rows_changed']}"
            f"  removed {row['rows_removed']}"
        )


@export.command()
@click.argument("name")
@click.argument("sha256")
def acknowledge(name: str, sha256: str) -> None:
    """Say that the receiver holds the export whose full.parquet has SHA256.

    The next changes lead on from it. Needed where exports are acknowledged by receivers.

    \b
    Example: customer360 export acknowledge churn_alerts "$(sha256sum < full.parquet | cut -c-64)"
    """
    engine = state.opened(load_settings())
    ledger.acknowledge(engine, name, sha256)
    click.echo(f"{name}: the next changes lead on from {sha256[:12]}", err=True)
