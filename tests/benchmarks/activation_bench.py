"""Deliveries beside what they could cost at best: ``make bench-activation``.

- A segment to PostgreSQL beside ADBC staging and MERGE alone; a change of 1 %; a rerun.
- Rows to a web service beside drt-core, in batches of 500 and one by one.
- Sends with injected faults (429, 500, reset, time-out after accept) at a receiver that honours
  keys: duplicates, losses, dead rows, rows without consent.

    python -m tests.benchmarks.activation_bench [--rows N] [--hook-rows N] [--sends N] [--only WHAT]
"""

import argparse
import contextlib
import datetime as dt
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import duckdb
import yaml

from customer360 import state
from customer360.activation import outbox, sending
from customer360.config import Config, load_config
from customer360.settings import PROJECT, Settings, load_settings
from tests.collect.database_servers import PostgresServer, start_postgres
from tests.conftest import make_company
from tests.publish.company import publish_tables

DAY = dt.date(2026, 3, 1)
COLUMNS = ("tier", "probability", "spend_cents", "last_on", "reason", "owner")
PEER = PROJECT / ".venv-bench" / "bin" / "python"


FOUND: list[tuple[str, str, str, bool]] = []
"""What was measured, its target, what was found, whether it was reached."""


def tell(what: str, target: str, found: str, *, reached: bool) -> None:
    FOUND.append((what, target, found, reached))
    print(f"{what}: {found} ({target}) {'reached' if reached else 'NOT REACHED'}", flush=True)


def segment(rows: int, salt: int = 0, changed: int = 0) -> str:
    """A query of so many members; the first ``changed`` have another probability under a salt."""
    return (
        "select 'c' || left(md5(number::varchar), 16) as customer_id, "
        "'segment_' || number % 5 as segment, ['high', 'medium', 'low'][1 + number % 3] as tier, "
        f"((number * 7919 + case when number < {changed} then {salt} else 0 end) % 1000) / 1000.0"
        "::double as probability, (number * 31 % 100000)::bigint as spend_cents, "
        "date '2026-01-01' + (number % 300)::integer as last_on, "
        "'bought less often, reason ' || number % 50 as reason, 'store ' || number % 40 as owner "
        f"from range({rows}) as numbers(number)"
    )


class Bench:
    """A company with destinations in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        os.environ |= {
            "COMPANY": "tiny", "CUSTOMER360_CONFIG": str(folder / "config"),
            "CUSTOMER360_DATA": str(folder / "data"), "CUSTOMER360_THREADS": "2",
        }  # fmt: skip
        make_company(folder)
        self.folder = folder
        self.settings: Settings = load_settings()
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.engine = state.engine(self.settings)
        state.ensure(self.engine)
        self.config: Config = load_config(self.settings)
        self.runs = 0

    def connect(self, **connections: Any) -> None:
        (self.settings.data_dir / "connections.json").write_text(json.dumps(connections))

    def declare(self, **destinations: Any) -> None:
        common = {"title": "bench", "owner": "bench", "from": "segment_members", "purpose": "care",
                  "columns": dict.fromkeys(COLUMNS, "care")}  # fmt: skip
        purposes = {
            "care": {"description": "care", "basis": "contract"},
            "offers": {"description": "offers", "basis": "consent", "consent": "marketing"},
        }
        section = {
            "purposes": purposes,
            "destinations": {name: {**common, **one} for name, one in destinations.items()},
        }
        path = self.folder / "config" / "destinations.yml"
        path.write_text(yaml.safe_dump({"tiny": section}))

    def publish(self, query: str, **tables: str) -> tuple[Path, dt.date, str]:
        self.runs += 1
        run_id = f"run{self.runs}"
        info = {"tables": {"segment_members": {"key": ["segment", "customer_id"]}}}
        tables = {"segment_members": query, **tables}
        return publish_tables(self.settings, run_id, DAY, info, **tables), DAY, run_id

    def deliver(self, name: str, published: tuple[Path, dt.date, str]) -> tuple[float, Any]:
        began = time.perf_counter()
        done = sending.deliver(self.settings, self.engine, self.config, name, *published)
        return time.perf_counter() - began, done

    def forget(self, name: str) -> None:
        """As if the destination had never been sent anything."""
        with self.engine.begin() as connection:
            for table in (outbox.deliveries, outbox.parts, outbox.sendings, outbox.ledger_versions):
                connection.execute(table.delete().where(table.c.destination == name))
        for path in (self.settings.data_dir / "outbox").glob(f"{name}.duckdb*"):
            path.unlink()


# --- PostgreSQL -------------------------------------------------------------------------------


def staging_and_merge(address: str, snapshot: Path) -> float:
    """The least that has to be done: stage by ADBC, MERGE, commit."""
    names = ("customer_id", "segment", *COLUMNS)
    began = time.perf_counter()
    listed = ", ".join(names)
    with duckdb.connect(str(snapshot), read_only=True, config={"threads": 2}) as source:
        connection = adbc.connect(address, autocommit=False)
        reader = source.execute(f"select {listed} from segment_members").to_arrow_reader(50_000)
        with connection.cursor() as cursor:
            cursor.adbc_ingest("stage", reader, mode="create", temporary=True)
            cursor.execute(
                f"merge into alone as target using stage on target.customer_id = stage.customer_id "
                f"and target.segment = stage.segment when matched then update set "
                f"{', '.join(f'{name} = stage.{name}' for name in COLUMNS)} "
                f"when not matched then insert ({listed}) "
                f"values ({', '.join(f'stage.{name}' for name in names)})"
            )
        connection.commit()
        connection.close()
    return time.perf_counter() - began


def bench_postgres(bench: Bench, server: PostgresServer, rows: int, times: int) -> None:
    bench.connect(desk=server.connection())
    bench.declare(table={"kind": "postgres", "connection": "desk", "table": "desk.members"})
    base = bench.publish(segment(rows))
    alone, ours = [], []
    address = server._server.owner_url("shop")
    for _ in range(times):
        server.new_database()
        server.run(
            "create table alone (customer_id text, segment text, tier text, probability double "
            "precision, spend_cents bigint, last_on date, reason text, owner text, "
            "primary key (customer_id, segment))"
        )
        alone.append(staging_and_merge(address, base[0]))
        bench.forget("table")
        seconds, done = bench.deliver("table", base)
        assert done.counts["added"] == rows, done
        ours.append(seconds)
    full, best = statistics.median(ours), statistics.median(alone)
    tell(
        f"{rows:,} rows to PostgreSQL, beside ADBC staging + MERGE alone", "at most 1.3 times",
        f"{full:.2f} s beside {best:.2f} s: {full / best:.2f} times", reached=full <= 1.3 * best,
    )  # fmt: skip
    deltas = []
    for salt in range(1, times + 1):
        change = bench.publish(segment(rows, salt, rows // 100))
        seconds, done = bench.deliver("table", change)
        assert done.counts["changed"] == rows // 100, done
        deltas.append(seconds)
    part = statistics.median(deltas)
    tell("1 % changed", "at most 5 % of it", f"{part:.3f} s: {part / full:.1%}",
         reached=part <= 0.05 * full)  # fmt: skip
    before = server_rows(address)
    seconds, done = bench.deliver("table", change)
    is_same = server_rows(address) == before
    tell("a rerun", "writes nothing", f"{seconds:.3f} s, {done.status}, "
         f"{'nothing' if is_same else 'SOMETHING'} written", reached=is_same)  # fmt: skip


def server_rows(address: str) -> list[Any]:
    import psycopg

    with psycopg.connect(address) as connection:
        return connection.execute("select count(*), max(written_at) from desk.members").fetchall()


# --- web services -----------------------------------------------------------------------------


@contextlib.contextmanager
def receiver(folder: Path, share: float = 0.0) -> Iterator[str]:
    """A receiver in a process of its own; its address."""
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.activation.bench_receiver", str(folder), str(share)],
        cwd=PROJECT,
    )
    try:
        while not (folder / "port").exists():
            time.sleep(0.02)
        yield f"http://127.0.0.1:{(folder / 'port').read_text()}"
    finally:
        process.kill()
        process.wait()


def effects(folder: Path) -> tuple[int, int, int]:
    """Requests that took effect, rows in them, rows that took effect more than once."""
    seen: dict[tuple[str, str, str], int] = {}
    requests = 0
    for line in (folder / "effects.jsonl").open():
        requests += 1
        for row in json.loads(line)["body"]["rows"]:
            name = (row["delivery_id"], row["change"], str(row.get("probability")))
            seen[name] = seen.get(name, 0) + 1
    return requests, len(seen), sum(count - 1 for count in seen.values())


def bench_hooks(bench: Bench, folder: Path, rows: int) -> None:
    for title, batch, count in (("batches of 500", 500, rows), ("one by one", 1, rows // 10)):
        published = bench.publish(segment(count))
        with receiver(folder / f"ours{batch}") as address:
            bench.connect(hook={"conn_type": "http", "host": address})
            bench.declare(hook={"kind": "webhook", "connection": "hook", "batch_size": batch})
            bench.forget("hook")
            seconds, done = bench.deliver("hook", published)
            assert done.counts["added"] == count, done
        peer = bench_peer(folder / f"peer{batch}", published[0], batch) if PEER.exists() else None
        tell(
            f"webhooks, {title}, beside drt-core", "at least as fast",
            f"{count / seconds:,.0f} rows/s beside "
            f"{f'{count / peer:,.0f}' if peer else 'a drt-core that did not run'}",
            reached=peer is not None and seconds <= peer,
        )  # fmt: skip


def bench_peer(folder: Path, snapshot: Path, batch: int) -> float | None:
    """drt-core in an environment of its own, to a receiver of the same kind."""
    rows = folder.with_suffix(".jsonl")
    with duckdb.connect(str(snapshot), read_only=True) as connection:
        connection.execute(f"copy segment_members to '{rows}' (format json)")
    with receiver(folder) as address:
        script = Path(__file__).with_name("activation_peer.py")
        done = subprocess.run(
            [str(PEER), str(script), str(rows), address, str(batch)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        print(done.stderr[-500:], file=sys.stderr)
        return None
    return float(done.stdout.split()[-1])


def bench_faults(bench: Bench, folder: Path, sends: int, batch: int) -> None:
    """Every third customer has taken the consent back; none of them may arrive."""
    consents = (
        "select 'crm' as source, number::varchar as consent_id, "
        "'c' || left(md5(number::varchar), 16) as customer_id, 'marketing' as purpose, "
        "'all' as channel, number % 3 <> 0 as is_granted, timestamp '2026-01-01' as captured_at, "
        "case when number % 3 = 0 then timestamp '2026-02-01' end as withdrawn_at "
        f"from range({sends * 3 // 2}) as numbers(number)"
    )
    published = bench.publish(segment(sends * 3 // 2), consents=consents)
    with receiver(folder / "faults", share=0.3) as address:
        bench.connect(hook={"conn_type": "http", "host": address})
        retry = {"attempts": 8, "first_wait": 0.001, "longest_wait": 0.01, "give_up_after": 3}
        bench.declare(hook={"kind": "webhook", "connection": "hook", "batch_size": batch,
                            "purpose": "offers", "retry": retry})  # fmt: skip
        bench.forget("hook")
        began = time.perf_counter()
        _, done = bench.deliver("hook", published)
        runs = 1
        while done.failed:
            _, done = bench.deliver("hook", published)
            runs += 1
        seconds = time.perf_counter() - began
        told = json.loads(urllib.request.urlopen(f"{address}/").read())
    _, arrived, twice = effects(folder / "faults")
    without = sum(
        1
        for line in (folder / "faults" / "effects.jsonl").open()
        for row in json.loads(line)["body"]["rows"]
        if row["customer_id"] in refused(published[0])
    )
    states = outbox.states(bench.engine, "hook")
    dead = states.get("dead", 0)
    lost = sends - arrived - dead
    tell(
        f"{sends:,} sends with faults in 30 % of requests", "0 twice, 0 lost, 0 without consent",
        f"{told['requests']:,} requests, {told['faults']:,} faults, {seconds:.0f} s, {runs} runs: "
        f"{twice} twice, {lost} lost, {dead} dead and kept, {without} without consent; {states}",
        reached=not (twice or lost or without),
    )  # fmt: skip


_refused: dict[Path, set[str]] = {}


def refused(snapshot: Path) -> set[str]:
    """Customers who have taken their consent back."""
    if snapshot not in _refused:
        with duckdb.connect(str(snapshot), read_only=True) as connection:
            rows = connection.execute("select customer_id from consents where not is_granted")
            _refused[snapshot] = {row[0] for row in rows.fetchall()}
    return _refused[snapshot]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--hook-rows", type=int, default=50_000)
    parser.add_argument("--sends", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=1, help="rows a request, with faults")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", choices=("postgres", "hooks", "faults"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="c360-") as name:
        folder = Path(name)
        bench = Bench(folder / "company")
        if given.only in (None, "postgres"):
            folder.chmod(0o755)
            server = start_postgres(folder)
            try:
                bench_postgres(bench, server, given.rows, given.times)
            finally:
                server.stop()
        if given.only in (None, "hooks"):
            bench_hooks(bench, folder, given.hook_rows)
        if given.only in (None, "faults"):
            bench_faults(bench, folder, given.sends, given.batch)
    print("\n| Measured | Target | Found | Reached |\n|---|---|---|---|")
    for what, target, found, reached in FOUND:
        print(f"| {what} | {target} | {found} | {'yes' if reached else 'no'} |")


if __name__ == "__main__":
    main()
