"""``customer360 alert``: the alerts that are open, and answering one.

What belongs here: printing what is published and writing an answer where the source ``answers``
finds it. What does not: what an answer means (``alerts``).
"""

import csv
import re

import click

from customer360 import state
from customer360.exceptions import Customer360Error
from customer360.output import JSON_OPTION, print_json
from customer360.publish import snapshot_path
from customer360.settings import load_settings
from customer360.warehouse import connect

ANSWERS = ("done", "wrong", "later")
FOLDER = "answers"
ALERT_ID = re.compile(r"a[0-9a-f]{24}")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def alert() -> None:
    """Alerts: which are open, and what came of them."""


@alert.command(name="list")
@click.option("--owner", help="Only those of this owner.")
@JSON_OPTION
def list_(owner: str | None, as_json: bool) -> None:
    """Open alerts, the most value at risk first.

    \b
    Example: customer360 alert list --owner key-account-team
    """
    settings = load_settings()
    query = (
        "select alert_id, customer_id, raised_on, expires_on, owner, value_at_risk_cents, "
        "reason_1, suggested_action from churn_alerts where owner = coalesce(?, owner) "
        "order by value_at_risk_cents desc, alert_id"
    )
    with connect(settings, snapshot_path(settings), read_only=True) as connection:
        rows = connection.execute(query, [owner]).to_arrow_table().to_pylist()
    if as_json:
        print_json({"alerts": [{k: _plain(v) for k, v in row.items()} for row in rows]})
        return
    for row in rows:
        click.echo(
            f"{row['alert_id']}  {row['owner']}  {(row['value_at_risk_cents'] or 0) / 100:,.2f}  "
            f"{row['reason_1']}  until {row['expires_on']}: {row['suggested_action']}"
        )


@alert.command()
@click.argument("alert_id")
@click.argument("answer", type=click.Choice(ANSWERS))
@click.option("--by", "answered_by", help="Team or tool that answers; no name of a person.")
def answer(alert_id: str, answer: str, answered_by: str | None) -> None:
    """Answer an alert; the next run takes it in and counts it.

    \b
    Example: customer360 alert answer a03c6ab648355d0587e942c31 done --by key-account-team
    """
    settings = load_settings()
    if not ALERT_ID.fullmatch(alert_id):
        raise Customer360Error(
            f"'{alert_id}' is no alert: `customer360 alert list` shows the open ones"
        )
    folder = settings.data_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    moment = state.now()
    path = folder / f"alert_answers_{moment:%Y%m%dT%H%M%S%f}.csv"
    aside = path.with_suffix(".part")
    with aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("alert_id", "answer", "answered_at", "answered_by"))
        writer.writerow((alert_id, answer, f"{moment:%Y-%m-%d %H:%M:%S}", answered_by or ""))
    aside.rename(path)
    click.echo(f"{alert_id}: {answer}; the next run takes it in", err=True)


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | str | None) else str(value)
