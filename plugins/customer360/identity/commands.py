"""``customer360 identity ...``: resolve, evaluate and explain, on any table of person records.

What belongs here: options, progress on standard error, output. What does not: resolution itself.
"""

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import click
import duckdb

from customer360.settings import load_settings

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def identity() -> None:
    """Who is who: resolve and evaluate."""


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


@identity.command(epilog="Example: customer360 identity explain 17 42 --in customers.csv")
@click.argument("record_a")
@click.argument("record_b")
@click.option("--in", "result", type=_FILE, required=True, help="The OUT of `resolve`.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def explain(record_a: str, record_b: str, result: Path, *, as_json: bool) -> None:
    """Say why two records are one customer, or why not: each link, field by field."""
    from customer360.identity.explain import explain as run
    from customer360.identity.explain import report

    with tempfile.TemporaryDirectory() as folder, _connect(folder) as con:
        found = run(con, result, record_a, record_b)
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else report(found))
