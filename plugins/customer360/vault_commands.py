"""``customer360 vault``: for those who may see persons, the way from tokens to values."""

import click

from customer360 import publish, vault
from customer360.output import JSON_OPTION, print_json
from customer360.settings import load_settings

SNAPSHOT = click.argument("snapshot_", metavar="[SNAPSHOT]", default="current")


@click.group(
    name="vault",
    short_help="personal values by token",
    context_settings={"help_option_names": ["-h", "--help"]},
)
def vault_group() -> None:
    """Names, numbers, addresses and birthdays by token: a file beside each snapshot, mode 0600.

    SNAPSHOT is a name of `snapshot list`, a path, a day (its last), or "current".
    """


@vault_group.command()
@SNAPSHOT
@JSON_OPTION
def path(snapshot_: str, as_json: bool) -> None:
    """The vault that was published with a snapshot.

    \b
    Example: customer360 vault path
    """
    settings = load_settings()
    found = vault.find_vault(settings, publish.find_snapshot(settings, snapshot_))
    if as_json:
        print_json({"path": found})
    else:
        click.echo(found)


@vault_group.command()
@SNAPSHOT
@JSON_OPTION
def attach(snapshot_: str, as_json: bool) -> None:
    """SQL that opens a snapshot and its vault together, with a view customers_in_clear.

    \b
    Example: duckdb -cmd "$(customer360 vault attach)"
    """
    settings = load_settings()
    snapshot = publish.find_snapshot(settings, snapshot_)
    sql = vault.attach_sql(snapshot, vault.find_vault(settings, snapshot))
    if as_json:
        print_json({"sql": sql})
    else:
        click.echo(sql, nl=False)
