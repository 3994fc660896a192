"""How fast the chain is, beside the same transformations written by hand (``make bench``).

What belongs here: measuring, and checking that both sides did the same work. What does not: the
peer's SQL (``by_hand.py``), and any limit that a test could enforce.

Four runs, each in a process of its own or said to share one:

- cold: a fresh process and an empty data folder; every step pays its imports, a model is trained;
- warm: the same process, another empty data folder; the imports are there;
- rerun: the same process and folder as warm; no source has anything new;
- by hand: a fresh process; the script of ``by_hand.py`` on the same Parquet.
"""

import contextlib
import datetime as dt
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
import duckdb

from customer360 import pipeline
from customer360.config import load_config
from customer360.content import row_number
from customer360.declarations import declared_sources
from customer360.publish import snapshot_path
from customer360.settings import PROJECT, load_settings
from customer360.sources.storage import resolve_path
from customer360.warehouse import literal, quote
from tests.benchmarks import by_hand

MEMORY_LIMIT_MB = 2048
TRANSFORMATION = ("extract", "load_raw", "resolve_identities", "build_marts", "publish")
"""The steps that the script does too; the others judge, score and export."""


# --- one run, in this process -----------------------------------------------------------------


def peak_mb(*, reset: bool = False) -> float:
    """Peak resident memory of this process in MB, since it was last reset where Linux lets us."""
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return 0.0
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(work: Callable[[], Any]) -> dict[str, Any]:
    """Seconds, processor seconds (all threads), peak memory of one step, and what it returned."""
    peak_mb(reset=True)
    began, cpu_began = time.perf_counter(), time.process_time()
    result = work()
    return {
        "seconds": round(time.perf_counter() - began, 3),
        "cpu": round(time.process_time() - cpu_began, 3),
        "peak_mb": round(peak_mb()),
        "result": result,
    }


def run_chain(data: Path, as_of: dt.date, run_id: str) -> dict[str, Any]:
    """Every step of the chain in this process, as the DAGs order them."""
    os.environ["CUSTOMER360_DATA"] = str(data)
    settings = load_settings()
    done: dict[str, Any] = {}

    def extract() -> int:
        landed = [
            pipeline.extract(settings, source.name, as_of) for source in declared_sources(settings)
        ]
        return sum(table["read"] for one in landed for table in one["tables"].values())

    steps: dict[str, Callable[[], Any]] = {
        "extract": extract,
        "begin": lambda: pipeline.begin(settings, as_of, run_id),
        "load_raw": lambda: pipeline.load_raw(settings, as_of, run_id),
        "audit_raw": lambda: pipeline.audit(settings, as_of, run_id, "raw"),
        "resolve_identities": lambda: pipeline.resolve_identities(settings, as_of, run_id),
        "build_marts": lambda: pipeline.build_marts(settings, as_of, run_id),
        "audit_marts": lambda: pipeline.audit(settings, as_of, run_id, "marts"),
        "train_if_needed": lambda: pipeline.train_if_needed(settings, as_of, run_id),
        "score": lambda: pipeline.score(settings, as_of, run_id),
        "build_scored_marts": lambda: pipeline.build_scored_marts(settings, as_of, run_id),
        "engage": lambda: pipeline.engage(settings, as_of, run_id),
        "audit_scores": lambda: pipeline.audit(settings, as_of, run_id, "scores"),
        "publish": lambda: pipeline.publish(settings, as_of, run_id),
        "activate": lambda: pipeline.activate(settings, as_of, run_id),
    }
    for name, work in steps.items():
        print(f"  {run_id}: {name} ...", file=sys.stderr, flush=True)
        done[name] = measured(work)
    rows = done["extract"]["result"]
    return {
        "rows": rows,
        "snapshot": str(snapshot_path(settings)),
        "steps": {
            name: {key: one[key] for key in ("seconds", "cpu", "peak_mb")}
            for name, one in done.items()
        },
    }


# --- the same work ------------------------------------------------------------------------------


def table_content(connection: duckdb.DuckDBPyConnection, alias: str, name: str) -> dict[str, Any]:
    """Rows of a table and the sum of their contents; doubles count to nine digits."""
    columns = connection.execute(f"describe {alias}.{quote(name)}").fetchall()
    cells = ", ".join(
        f"{f'round({quote(column)}, 9)' if kind == 'DOUBLE' else quote(column)} as {quote(column)}"
        for column, kind, *_ in sorted(columns)
    )
    content = row_number(sorted(column for column, *_ in columns))
    found = connection.execute(
        f"select count(*), sum(({content} & 18446744073709551615)::ubigint)::varchar "
        f"from (select {cells} from {alias}.{quote(name)})"
    ).fetchall()
    types = {column: kind for column, kind, *_ in columns}
    return {"rows": found[0][0], "content": found[0][1], "types": types}


def compare(published: Path, by_hand_file: Path) -> dict[str, Any]:
    """The tables of both sides: rows, and whether their contents are the same cell by cell."""
    with duckdb.connect() as connection:
        connection.execute(f"attach {literal(published)} as ours (read_only)")
        connection.execute(f"attach {literal(by_hand_file)} as theirs (read_only)")
        tables = {}
        for name in by_hand.TABLES:
            ours, theirs = (table_content(connection, side, name) for side in ("ours", "theirs"))
            tables[name] = {
                "rows": ours["rows"],
                "rows_by_hand": theirs["rows"],
                "equal": ours == theirs,
            }
    return tables


# --- processes of their own -----------------------------------------------------------------


def in_new_process(*arguments: str, **environment: str) -> Any:
    """What one of the hidden commands below prints, run in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.chain_bench", *arguments],
        cwd=PROJECT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def parse_seconds(folder: Path) -> dict[str, float]:
    """Import seconds of each DAG file in a fresh process, after Airflow itself was imported."""
    code = (
        "import json, runpy, sys, time\n"
        "began = time.perf_counter()\n"
        "import airflow.sdk\n"
        "ready = time.perf_counter()\n"
        "runpy.run_path(sys.argv[1])\n"
        "print(json.dumps([ready - began, time.perf_counter() - ready]))\n"
    )
    found: dict[str, float] = {}
    for path in sorted((PROJECT / "dags").glob("*.py")):
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            cwd=PROJECT,
            env={**os.environ, "AIRFLOW_HOME": str(folder / "airflow")},
            capture_output=True,
            text=True,
            check=True,
        )
        airflow, own = json.loads(done.stdout.splitlines()[-1])
        found["(airflow itself)"] = round(airflow, 3)
        found[path.name] = round(own, 3)
    return found


def scheduler_seconds(data: Path) -> dict[str, Any]:
    """A whole ``make run`` and its last line, which states the scheduler's overhead."""
    began = time.perf_counter()
    done = subprocess.run(
        ["make", "--no-print-directory", "run"],
        cwd=PROJECT,
        env={**os.environ, "CUSTOMER360_DATA": str(data)},
        capture_output=True,
        text=True,
        check=True,
    )
    said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return {"seconds": round(time.perf_counter() - began, 1), "said": said[-1]}


# --- what a person reads ----------------------------------------------------------------------


def report(found: dict[str, Any]) -> str:
    """The table."""
    runs = {name: found["chain"][name]["steps"] for name in ("cold", "warm", "rerun")}
    totals = found["totals"]
    lines = [
        f"{found['company']} as of {found['as_of']}: {found['rows']:,} source rows, "
        f"{found['threads']} threads, DuckDB {duckdb.__version__}, "
        f"Python {platform.python_version()}",
        "",
        f"{'seconds of a step':<22}{'cold':>9}{'warm':>9}{'rerun':>9}"
        f"{'warm CPU':>10}{'peak MB':>10}",
    ]
    for name in runs["cold"]:
        cells = "".join(f"{run[name]['seconds']:>9.2f}" for run in runs.values())
        peak = max(run[name]["peak_mb"] for run in runs.values())
        lines.append(f"{name:<22}{cells}{runs['warm'][name]['cpu']:>10.2f}{peak:>10,}")
    for title, key, form in (
        ("all steps", "seconds", "9.2f"),
        ("rows a second", "rows_a_second", "9,"),
    ):
        cells = "".join(f"{totals[name][key]:>{form}}" for name in runs)
        tail = f"{totals['warm']['cpu']:>10.2f}{found['peak_mb']:>10,}" if key == "seconds" else ""
        lines.append(f"{title:<22}{cells}{tail}")
    lines += ["", f"{'the same tables':<40}{'seconds':>9}{'ratio':>7}{'CPU':>9}{'ratio':>7}"]
    for title, key in (
        ("one DuckDB script by hand", "by_hand"),
        ("chain, extract load build publish, warm", "transformation"),
        ("chain, all steps, warm", "all"),
    ):
        one = found["compared"][key]
        lines.append(
            f"{title:<40}{one['seconds']:>9.2f}{one['ratio']:>7.1f}"
            f"{one['cpu']:>9.2f}{one['cpu_ratio']:>7.1f}"
        )
    equal = [name for name, one in found["tables"].items() if one["equal"]]
    rows = sum(one["rows"] for one in found["tables"].values())
    lines += [
        f"{len(equal)} of {len(found['tables'])} tables are equal cell by cell ({rows:,} rows); "
        f"the script's peak is {found['by_hand']['peak_mb']:,} MB",
        "",
        "parse seconds of a DAG file",
    ]
    lines += [f"  {name:<38}{seconds:>9.3f}" for name, seconds in found["parse_seconds"].items()]
    if found.get("scheduler"):
        lines += [
            "",
            f"make run under the scheduler: {found['scheduler']['seconds']} s; "
            f"{found['scheduler']['said']}",
        ]
    return "\n".join(lines)


@click.group(invoke_without_command=True)
@click.option("--as-of", help="Day to run for (default: the last day of the data).")
@click.option("--threads", default=2, show_default=True, help="Cap for both sides.")
@click.option("--scheduler", is_flag=True, help="Also time `make run`; takes minutes.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=PROJECT / "data" / "bench",
    help="Folder of the JSON file (default: data/bench).",
)
@click.pass_context
def main(context: click.Context, as_of: str | None, threads: int, scheduler: bool, out: Path):
    """Measure the chain on The Complete Journey, beside one DuckDB script of the same work.

    Works in a temporary folder and leaves only its JSON file. Ends with 1 where the tables of the
    two sides differ or a step needs more than 2 GB.

    \b
    Example:
      python -m tests.benchmarks.chain_bench --as-of 2017-12-31
    """
    if context.invoked_subcommand:
        return
    os.environ.update(
        {
            "COMPANY": "complete_journey",
            "CUSTOMER360_THREADS": str(threads),
            "OMP_NUM_THREADS": str(threads),
        }
    )
    settings = load_settings()
    company = load_config(settings).sources
    day = dt.date.fromisoformat(as_of) if as_of else company.last_day
    assert day is not None
    with tempfile.TemporaryDirectory(prefix="customer360-bench-") as name:
        folder = Path(name)
        chain = in_new_process("chain", str(folder), day.isoformat())
        target = folder / "by_hand.duckdb"
        source = str(resolve_path(company.sources["till"].path, settings.data_dir))
        hand = in_new_process("by-hand", source, day.isoformat(), str(target))
        tables = compare(Path(chain["warm"]["snapshot"]), target)
        parsed = parse_seconds(folder)
        scheduled = scheduler_seconds(folder / "scheduler") if scheduler else None
    found = summarise(chain, hand)
    found |= {
        "company": settings.company,
        "as_of": day.isoformat(),
        "threads": threads,
        "tables": tables,
        "parse_seconds": parsed,
        "scheduler": scheduled,
        "measured_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }
    click.echo(report(found))
    out.mkdir(parents=True, exist_ok=True)
    path = out / "chain.json"
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    click.echo(f"\nwritten to {path}", err=True)
    different = [table for table, one in tables.items() if not one["equal"]]
    if different:
        raise click.ClickException(f"not the same work: {', '.join(different)} differ")
    if found["peak_mb"] > MEMORY_LIMIT_MB:
        raise click.ClickException(f"a step needed {found['peak_mb']:,} MB")


def summarise(chain: dict[str, Any], hand: dict[str, Any]) -> dict[str, Any]:
    """Totals, and what they are beside the script."""

    def total(run: str, names: Iterable[str]) -> dict[str, float]:
        steps = [chain[run]["steps"][name] for name in names]
        return {key: round(sum(step[key] for step in steps), 2) for key in ("seconds", "cpu")}

    def beside(one: dict[str, float]) -> dict[str, float]:
        return {
            "seconds": one["seconds"],
            "ratio": round(one["seconds"] / hand["seconds"], 1),
            "cpu": one["cpu"],
            "cpu_ratio": round(one["cpu"] / hand["cpu"], 1),
        }

    totals = {name: total(name, run["steps"]) for name, run in chain.items()}
    for name, one in totals.items():
        one["rows_a_second"] = round(chain[name]["rows"] / one["seconds"])
    return {
        "rows": chain["cold"]["rows"],
        "chain": chain,
        "totals": totals,
        "peak_mb": max(step["peak_mb"] for run in chain.values() for step in run["steps"].values()),
        "by_hand": hand,
        "compared": {
            "by_hand": beside(hand),
            "transformation": beside(total("warm", TRANSFORMATION)),
            "all": beside(totals["warm"]),
        },
    }


@main.command("chain", hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("as_of")
def chain_command(folder: Path, as_of: str) -> None:
    """Run the chain three times in this process; prints JSON."""
    day = dt.date.fromisoformat(as_of)
    found = {}
    with contextlib.redirect_stdout(sys.stderr):
        for name, data in (("cold", "cold"), ("warm", "warm"), ("rerun", "warm")):
            found[name] = run_chain(folder / data, day, name)
            if name == "cold":
                shutil.rmtree(folder / data)
    click.echo(json.dumps(found))


@main.command("by-hand", hidden=True)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("as_of")
@click.argument("target", type=click.Path(path_type=Path))
def by_hand_command(source: Path, as_of: str, target: Path) -> None:
    """Run the hand-written script in this process; prints JSON."""
    settings = load_settings()
    done = measured(
        lambda: by_hand.build(source, as_of, target, settings.threads, settings.memory_limit)
    )
    click.echo(json.dumps({name: done[name] for name in ("seconds", "cpu", "peak_mb")}))


if __name__ == "__main__":
    main()
