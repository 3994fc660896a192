"""``customer360 activate``, ``delivery`` and ``sending``: what goes out, what waits, the switch."""

import datetime as dt
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Engine, func, select

from customer360 import state
from customer360.activation import outbox, stops
from customer360.activation.destinations import load_destinations, one_destination
from customer360.content import ID_MAP_TABLE, attached, has_table
from customer360.exceptions import Customer360Error
from customer360.output import JSON_OPTION, print_json
from customer360.publish import snapshot_path
from customer360.settings import Settings, load_settings

HELP = {"help_option_names": ["-h", "--help"]}
SHOWN = 50


def _open() -> tuple[Settings, Engine]:
    settings = load_settings()
    engine = state.opened(settings)
    return settings, engine


@click.command(context_settings=HELP)
@click.argument("names", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Only show what would be sent, deletes included.")
@click.option("--out", type=click.Path(path_type=Path), help="Dry run: all rows, as JSON Lines.")
@JSON_OPTION
def activate(names: tuple[str, ...], dry_run: bool, out: Path | None, as_json: bool) -> None:
    """Send what destinations do not hold yet of the last published snapshot.

    NAMES are destinations of config/destinations.yml; all of them where none is given.

    \b
    Example: customer360 activate --dry-run crm_churn_alerts
    """
    from customer360 import pipeline

    settings, engine = _open()
    names = names or tuple(load_destinations(settings).destinations)
    if out and (len(names) != 1 or not dry_run):
        raise click.UsageError("--out goes with --dry-run and one destination")
    run = state.last_run(engine, "published")
    if run is None:
        raise Customer360Error(f"company {settings.company} has published nothing yet: make run")
    results: dict[str, Any] = {}
    for name in names:
        one_destination(settings, name)
        if dry_run:
            results[name] = pipeline.preview_delivery(
                settings, run["as_of"], run["run_id"], name, out
            )
        else:
            results[name] = pipeline.deliver(settings, run["as_of"], run["run_id"], name)
        if not as_json:
            _print_outcome(results[name], dry_run)
    if as_json:
        print_json({"run_id": run["run_id"], "as_of": run["as_of"], "destinations": results})


def _print_outcome(done: dict[str, Any], dry_run: bool) -> None:
    changes = f"+{done['added']:,} ~{done['changed']:,} -{done['removed']:,}"
    click.echo(f"{done['destination']}: {done['status']}, {done['rows']:,} rows wanted, {changes}")
    for reason, count in sorted(done["held"].items()):
        click.echo(f"  held     {count:>8,}  {reason}")
    for reason, count in sorted(done.get("reasons", {}).items()):
        click.echo(f"  not sent {count:>8,}  {reason}")
    if dry_run:
        for row in done["sample"]:
            values = ", ".join(
                f"{name}={value}"
                for name, value in row.items()
                if value is not None and name not in ("payload_hash", "attempts", "object")
            )
            click.echo(f"  {values}")
        if done["added"] + done["changed"] + done["removed"] > len(done["sample"]):
            click.echo("  ... (--out FILE writes them all)")


@click.group(context_settings=HELP)
def delivery() -> None:
    """Deliveries: what went to whom, what waits for a person, and setting it going again."""


@delivery.command(name="list")
@JSON_OPTION
def list_(as_json: bool) -> None:
    """A line for each destination: rows by state, last sending, what a guard has stopped.

    \b
    Example: customer360 delivery list
    """
    settings, engine = _open()
    found = [_summary(engine, name) for name in load_destinations(settings).destinations]
    if as_json:
        print_json({"destinations": found})
        return
    for each in found:
        counts = ", ".join(f"{count:,} {status}" for status, count in each["rows"].items())
        last = each["last"]
        said = f"; last {last['status']} at {last['at']:%Y-%m-%d %H:%M} UTC" if last else ""
        click.echo(f"{each['destination']}: {counts or 'nothing yet'}{said}")
        for part in each["stopped"]:
            word = "confirmed" if part["is_confirmed"] else "waits for confirmation"
            click.echo(
                f"  {part['part'] or 'all rows'}: {part['rows_before']:,} rows before, "
                f"{part['rows_now']:,} now: {word}"
            )


def _summary(engine: Engine, name: str) -> dict[str, Any]:
    sendings = outbox.sendings
    with engine.begin() as connection:
        last = (
            connection.execute(
                select(sendings.c.status, sendings.c.intended_at.label("at"), sendings.c.answer)
                .where(sendings.c.destination == name)
                .order_by(sendings.c.sending_id.desc())
                .limit(1)
            )
            .mappings()
            .first()
        )
        open_ = connection.execute(
            select(func.count()).where(
                sendings.c.destination == name, sendings.c.status == "intended"
            )
        ).scalar_one()
    parts = stops.stopped_parts(engine, name)
    return {
        "destination": name,
        "rows": outbox.states(engine, name),
        "cut_off_sendings": open_,
        "last": dict(last) if last else None,
        "stopped": [dict(part) for part in parts],
    }


@delivery.command()
@click.argument("name")
@click.option("--customer", help="Only rows of this customer.")
@click.option("--status", type=click.Choice(outbox.STATES), help="Only rows in this state.")
@click.option("--limit", default=SHOWN, show_default=True, help="At most so many rows.")
@JSON_OPTION
def show(name: str, customer: str | None, status: str | None, limit: int, as_json: bool) -> None:
    """Rows of a destination's ledger: state, attempts, reason, answer, time.

    \b
    Example: customer360 delivery show marketing_segments --status dead
    """
    settings, engine = _open()
    one_destination(settings, name)
    rows = [
        {**row, "object": row["object"].replace("\x1f", "|")}
        for row in outbox.rows(engine, name, customer, status, limit + 1)
    ]
    more = len(rows) > limit
    rows = rows[:limit]
    if as_json:
        print_json({"destination": name, "rows": rows})
        return
    for row in rows:
        at = row["at"]
        moment = f"{at:%Y-%m-%d %H:%M:%S}" if isinstance(at, dt.datetime) else "-"
        thing = f" {row['object']}" if row["object"] else ""
        click.echo(
            f"{row['customer_id']}{thing}  {row['change']:<8}{row['status']:<13}{moment}"
            f"  run {row['run_id'] or '-'}  attempts {row['attempts'] or 0}"
            f"  {row['reason'] or row['answer'] or ''}"
        )
    if more:
        click.echo(f"and more: these are the first {limit}; --limit shows others", err=True)
    elif not rows:
        click.echo("the ledger has no such row", err=True)


@delivery.command()
@click.argument("name")
@click.option("--customer", help="Only rows of this customer.")
def replay(name: str, customer: str | None) -> None:
    """Let dead rows be tried again by the next run, or at once by `customer360 activate`.

    \b
    Example: customer360 delivery replay marketing_segments
    """
    settings, engine = _open()
    one_destination(settings, name)
    with outbox.Outbox.open(settings, engine, name) as book:
        count = book.replay(customer)
    click.echo(f"{name}: {count} dead rows will be tried again", err=True)


@delivery.command()
@click.argument("name")
@click.option("--received", "verdict", flag_value="received", help="Unknown rows have arrived.")
@click.option("--not-received", "verdict", flag_value="lost", help="They have not: send again.")
@click.option("--customer", help="Only rows of this customer.")
def confirm(name: str, verdict: str | None, customer: str | None) -> None:
    """A person decides: what a guard stopped is meant, or unknown rows have (not) arrived.

    \b
    Example: customer360 delivery confirm crm_segments
    Example: customer360 delivery confirm chat_alerts --not-received
    """
    settings, engine = _open()
    one_destination(settings, name)
    if verdict is None:
        count = stops.confirm_parts(engine, name)
        said = f"{count} stopped parts are confirmed; the next run, or customer360 activate, sends"
        click.echo(f"{name}: {said if count else 'nothing is stopped'}", err=True)
        return
    with outbox.Outbox.open(settings, engine, name) as book:
        count = book.confirm(received=verdict == "received", customer_id=customer)
    click.echo(f"{name}: {count} unknown rows are decided", err=True)


@click.group(context_settings=HELP)
def sending() -> None:
    """The switch that stops all sending at once, and customers who are sent nothing."""


@sending.command()
@click.option("--because", required=True, help="Why; shown to everybody who wonders.")
def stop(because: str) -> None:
    """Stop all sending, to every destination, between two requests.

    \b
    Example: customer360 sending stop --because "wrong prices in the offers"
    """
    _, engine = _open()
    stops.stop_sending(engine, because)
    click.echo("all sending is stopped", err=True)


@sending.command()
def start() -> None:
    """Let sending go on; what waited goes with the next run, or with customer360 activate.

    \b
    Example: customer360 sending start
    """
    _, engine = _open()
    stops.start_sending(engine)
    click.echo("sending is on", err=True)


@sending.command()
@JSON_OPTION
def status(as_json: bool) -> None:
    """Whether sending is on.

    \b
    Example: customer360 sending status
    """
    _, engine = _open()
    stopped = stops.why_stopped(engine)
    if as_json:
        print_json({"is_on": stopped is None, "stopped": dict(stopped) if stopped else None})
    elif stopped:
        click.echo(f"stopped on {stopped['at']:%Y-%m-%d %H:%M} UTC: {stopped['because']}")
    else:
        click.echo("on")


@sending.command()
@click.argument("customer_ids", nargs=-1, required=True)
@click.option("--because", required=True, help="Why; kept with the customer's id.")
def suppress(customer_ids: tuple[str, ...], because: str) -> None:
    """Send these customers nothing any more; what receivers hold of them is removed.

    \b
    Example: customer360 sending suppress c8a42765f108275d1 --because "asked by phone"
    """
    settings, engine = _open()
    unknown = _unknown(settings, customer_ids)
    if unknown:
        raise Customer360Error(
            f"the published snapshot knows no customer {', '.join(unknown)}; nothing was changed. "
            "Take the id from a table of the snapshot; one of the past is found there too"
        )
    stops.suppress(engine, customer_ids, stops.SUPPRESSED, because)
    click.echo(f"{len(set(customer_ids))} customers are sent nothing any more", err=True)


@sending.command()
@click.argument("customer_ids", nargs=-1, required=True)
def allow(customer_ids: tuple[str, ...]) -> None:
    """Take `suppress` back; what consents and purposes allow is sent again with the next run.

    \b
    Example: customer360 sending allow c8a42765f108275d1
    """
    _, engine = _open()
    click.echo(f"{stops.allow(engine, customer_ids)} suppressions are taken back", err=True)


def _unknown(settings: Settings, customer_ids: tuple[str, ...]) -> list[str]:
    """Ids that no customer of the published snapshot has, or ever had."""
    with attached(settings, snapshot=snapshot_path(settings)) as connection:
        tables = [("customers", "customer_id")]
        if has_table(connection, "snapshot", ID_MAP_TABLE):
            tables.append((ID_MAP_TABLE, "old_id"))
        found: set[str] = set()
        for table, column in tables:
            query = f"select {column} from snapshot.{table} where {column} in (select unnest(?))"
            found |= {row[0] for row in connection.execute(query, [list(customer_ids)]).fetchall()}
    return [one for one in customer_ids if one not in found]
