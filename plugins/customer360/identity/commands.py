"""``customer360 identity ...``: any table of person records, and the company's nightly resolution.

What belongs here: options, progress on standard error, output. What does not: resolution itself.
"""

import getpass
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
import duckdb
import yaml

from customer360.exceptions import ConfigError
from customer360.output import check_out
from customer360.settings import Settings, load_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from customer360.identity.config import IdentityConfig

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def identity() -> None:
    """Who is who: resolve, evaluate, explain, preview, review."""


def _connect(folder: str) -> duckdb.DuckDBPyConnection:
    settings = load_settings()
    return duckdb.connect(
        config={
            "threads": settings.threads,
            "memory_limit": settings.memory_limit,
            "temp_directory": folder,
        }
    )


def _tell(message: str) -> None:
    click.echo(message, err=True)


@identity.command(
    epilog="Example: customer360 identity resolve people.csv --mapping people.yml --out out.csv"
)
@click.argument("records", type=_FILE)
@click.option("--mapping", type=_FILE, required=True, help="YAML: fields -> columns.")
@click.option("--out", type=_FILE, required=True, help="CSV or Parquet: record_id, customer_id.")
@click.option("--constraints", type=_FILE, help="CSV: record_a, record_b, must_link|cannot_link.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def resolve(
    records: Path, mapping: Path, out: Path, constraints: Path | None, *, as_json: bool
) -> None:
    """Find out which records are one person.

    RECORDS is any CSV or Parquet table. Beside OUT stand OUT.links.parquet (every link with its
    reasons), OUT.review.csv (what a person should look at) and OUT.model.json.
    """
    from customer360.identity.mapping import load_mapping
    from customer360.identity.resolve import resolve as run
    from customer360.identity.resolve import write

    started = time.monotonic()
    check_out(out, records, mapping, constraints)
    checked = load_mapping(mapping)
    with tempfile.TemporaryDirectory() as folder, _connect(folder) as con:
        summary = run(con, records, checked, constraints=constraints, say=_tell)
        write(con, out)
    seconds = round(time.monotonic() - started, 1)
    _tell(
        f"{summary.records:,} records are {summary.customers:,} customers ({seconds} s); "
        f"{summary.review:,} pairs to review, {summary.stop_listed:,} identifiers stop-listed"
    )
    if as_json:
        click.echo(json.dumps({**asdict(summary), "seconds": seconds, "out": str(out)}))


@identity.command(
    epilog="Example: customer360 identity evaluate customers.csv --truth truth.csv --json"
)
@click.argument("out", type=_FILE)
@click.option("--truth", type=_FILE, required=True, help="CSV or Parquet: record_id, person_id.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def evaluate(out: Path, truth: Path, *, as_json: bool) -> None:
    """Compare a result of `resolve` with the truth: pairs, whole customers, the worst merge."""
    from customer360.identity.evaluate import evaluate as run
    from customer360.identity.evaluate import report

    with tempfile.TemporaryDirectory() as folder, _connect(folder) as con:
        found = run(con, out, truth)
    click.echo(json.dumps(found) if as_json else report(found))


@identity.command(
    epilog="Examples: customer360 identity explain shop.accounts:17 crm.persons:C42 ; "
    "customer360 identity explain 17 42 --in customers.csv"
)
@click.argument("record_a")
@click.argument("record_b")
@click.option("--in", "result", type=_FILE, help="The OUT of `resolve`; else the last run.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def explain(record_a: str, record_b: str, result: Path | None, *, as_json: bool) -> None:
    """Say why two records are one customer, or why not: each link, and what speaks against it.

    Without --in, of the company's last run; two customer ids may be asked as well.
    """
    if record_a == record_b:
        raise ConfigError(f"{record_a} is named twice: name two records")
    if result is None:
        from customer360.identity import told

        found = told.explain(load_settings(), record_a, record_b)
        text = told.report(found)
    else:
        from customer360.identity.explain import explain as run
        from customer360.identity.explain import report

        with tempfile.TemporaryDirectory() as folder, _connect(folder) as con:
            found = run(con, result, record_a, record_b)
        text = report(found)
    click.echo(json.dumps(found, ensure_ascii=False, default=str) if as_json else text)


@identity.command(
    epilog="Example: customer360 identity preview --set threshold=0.8 --set "
    "kinds.phone.max_persons=4"
)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Over identity.yml.")
@click.option("--values", type=_FILE, help="customer_id, value: who is high-value.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def preview(changes: tuple[str, ...], values: Path | None, *, as_json: bool) -> None:
    """Show what a change of rules would do to the last run's customers, before it is taken.

    Compares what identity.yml (and --set) would make of the same records. Exit code 1 when more
    customers would change than preview.max_changed_share allows.
    """
    from customer360 import state
    from customer360.identity import preview as module

    settings = load_settings()
    engine = state.opened(settings)
    config = _changed_config(settings, changes)
    with tempfile.TemporaryDirectory() as folder:
        known = values or _snapshot_values(settings, Path(folder))
        found = module.preview(settings, engine, config, values=known, say=_tell)
    if as_json:
        click.echo(json.dumps(module.as_dict(found), ensure_ascii=False))
    else:
        high = "" if found.high_value is None else f", {found.high_value:,} of them high-value"
        click.echo(
            f"of {found.customers:,} customers {found.merging:,} would merge and "
            f"{found.splitting:,} be split ({found.changed_share:.2%}{high})"
        )
        for one in found.examples:
            parts = ", ".join(
                f"{name} ({records} records)"
                for name, records in zip(one["names"], one["records"], strict=True)
            )
            click.echo(f"  {one['what']}: {', '.join(one['customers'])}: {parts}")
    module.refuse_over_budget(found)


def _changed_config(settings: Settings, changes: tuple[str, ...]) -> "IdentityConfig":
    from customer360.identity.config import load_identity_config, parse_identity_config

    document = load_identity_config(settings).model_dump(mode="json")
    for change in changes:
        key, sign, value = change.partition("=")
        if not sign:
            raise ConfigError(f"--set {change}: write KEY=VALUE, for example threshold=0.8")
        *path, last = key.split(".")
        place = document
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise ConfigError(f"--set {key}: {part} has no keys below it")
        place[last] = yaml.safe_load(value)
    return parse_identity_config({"defaults": document}, settings.company, Path("identity.yml"))


def _snapshot_values(settings: Settings, folder: Path) -> Path | None:
    """What customers spent, from the published snapshot; None where it does not say."""
    from customer360 import publish
    from customer360.exceptions import Customer360Error

    try:
        snapshot = publish.snapshot_path(settings)
    except Customer360Error:
        return None
    with duckdb.connect(str(snapshot), read_only=True) as con:
        columns = {
            name
            for (name,) in con.execute(
                "SELECT column_name FROM duckdb_columns() WHERE table_name = 'customer_360'"
            ).fetchall()
        }
        if not {"customer_id", "spend_cents_total"} <= columns:
            return None
        file = folder / "values.parquet"
        con.execute(
            "COPY (SELECT customer_id, spend_cents_total AS value FROM customer_360) TO "
            f"'{file}' (FORMAT parquet)"
        )
    return file


@identity.group()
def review() -> None:
    """Pairs that people decide: every run obeys, and it can be taken back."""


@review.command(name="list", epilog="Example: customer360 identity review list --limit 20")
@click.option("--limit", default=20, show_default=True, help="How many.")
@click.option("--decided", is_flag=True, help="What was decided, instead of what awaits it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def list_(limit: int, *, decided: bool, as_json: bool) -> None:
    """List what awaits a decision, the most doubtful first."""
    from customer360.identity import decisions, told

    if decided:
        rows = [dict(row) for row in decisions.in_force(_state())]
        lines = [
            f"{row['decision_id']}: {row['kind']} {row['record_a']} {row['record_b']} "
            f"({row['decided_by']}, {row['decided_at']:%F})"
            for row in rows
        ]
    else:
        rows = told.reviews(load_settings(), limit)
        lines = [
            f"{row['record_a']} {row['record_b']}: {row['probability']:.2f}, now "
            f"{'one customer' if row['together'] else 'two'}"
            + "".join(f"; {what}" for what in row["against"])
            for row in rows
        ]
    if as_json:
        click.echo(json.dumps({"reviews": rows}, ensure_ascii=False, default=str))
        return
    for line in lines or ["nothing"]:
        click.echo(line)


@review.command(epilog="Example: customer360 identity review accept shop.accounts:17 crm.persons:4")
@click.argument("record_a")
@click.argument("record_b")
@click.option("--by", default=getpass.getuser, help="Who decides; the user's name by default.")
def accept(record_a: str, record_b: str, by: str) -> None:
    """Two records are one customer, from the next run on."""
    _decide("must_link", record_a, record_b, by)


@review.command(epilog="Example: customer360 identity review reject shop.accounts:17 crm.persons:4")
@click.argument("record_a")
@click.argument("record_b")
@click.option("--by", default=getpass.getuser, help="Who decides; the user's name by default.")
def reject(record_a: str, record_b: str, by: str) -> None:
    """Two records are two customers, from the next run on; a merge is split."""
    _decide("cannot_link", record_a, record_b, by)


@review.command(epilog="Example: customer360 identity review undo 3")
@click.argument("decision", type=int)
@click.option("--by", default=getpass.getuser, help="Who decides; the user's name by default.")
def undo(decision: int, by: str) -> None:
    """Take a decision back, from the next run on."""
    from customer360.identity import decisions

    row = decisions.undo(_state(), decision, by)
    _tell(f"undone: {row['kind']} {row['record_a']} {row['record_b']}")


def _decide(kind: str, record_a: str, record_b: str, by: str) -> None:
    from customer360.identity import decisions, told

    with told.last_run(load_settings()) as own:
        known = {
            record
            for (record,) in own.execute(
                "SELECT record_id FROM seen WHERE record_id IN (?, ?)", [record_a, record_b]
            ).fetchall()
        }
    unknown = [record for record in (record_a, record_b) if record not in known]
    if unknown:
        raise ConfigError(f"the last run knew no record {', '.join(unknown)}")
    number = decisions.decide(_state(), kind, record_a, record_b, by)
    _tell(f"decision {number}: {kind}; the next run obeys it")


def _state() -> "Engine":
    from customer360 import state
    from customer360.identity import decisions  # noqa: F401, its tables are made with the others

    return state.opened(load_settings())
