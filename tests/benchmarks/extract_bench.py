"""Extraction beside DuckDB's scanner, connectorx and dlt: rows a second and peak memory.

What belongs here: one table in real servers of the bench's own, each reader in a process of its
own, from its start to its end. The scanner alone (``copy (select ...) to`` Parquet) and customer360
have the same threads, memory limit and output format, and take turns, because a machine's speed
changes while they run: the ratio is of their medians. Peers run once. Readers of files and web
services are added to ``READERS``. Run by ``make bench-extract``; ``--rows`` sets the size (2 M).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

PROJECT = Path(__file__).resolve().parents[2]
PEERS = PROJECT / ".venv-bench" / "bin" / "python"

MEMORY = "300MB"
"""DuckDB's limit, for the scanner alone and for customer360."""

COLUMNS = {
    "id": "bigint", "phone": "text", "full_name": "text", "amount": "decimal(12,2)",
    "quantity": "integer", "status": "text", "score": "double", "created_at": "timestamp",
    "changed_at": "timestamp",
}  # fmt: skip

SCANNER = """
import os, sys, duckdb
url, kind, extension, out = sys.argv[1:5]
connection = duckdb.connect(
    config={"threads": int(os.environ["CUSTOMER360_THREADS"]),
            "memory_limit": os.environ["CUSTOMER360_MEMORY"]})
connection.execute(f"load '{extension}'")
connection.execute(f"attach '{url}' as source (type {kind})")
schema = "public" if kind == "postgres" else "shop"
connection.execute(f"copy (select * from source.{schema}.orders) to '{out}/rows.parquet' "
                   "(format parquet, compression zstd)")
"""

CONNECTORX = """
import sys, connectorx, pyarrow.parquet as pq
table = connectorx.read_sql(sys.argv[1], "select * from orders", return_type="arrow")
pq.write_table(table, sys.argv[4] + "/rows.parquet", compression="zstd")
"""

DLT = """
import os, sys, dlt
from dlt.sources.sql_database import sql_table
os.environ["DLT_DATA_DIR"] = sys.argv[4]
pipeline = dlt.pipeline("bench", destination=dlt.destinations.filesystem("file://" + sys.argv[4]),
                        dataset_name="bench", pipelines_dir=sys.argv[4])
url = sys.argv[1].replace("mysql:", "mysql+pymysql:").replace("postgresql:", "postgresql+psycopg2:")
pipeline.run(sql_table(url, table="orders", backend="pyarrow", chunk_size=50000),
             loader_file_format="parquet")
"""

LANDING = """
import datetime as dt
from customer360 import landing
from customer360.config import load_config
from customer360.settings import load_settings
settings = load_settings()
list(landing.extract_source(settings, load_config(settings), "shop", dt.date(2030, 1, 1)))
"""

# name -> (interpreter, program); each gets the server's URL, kind, extension and a folder.
SCANNER_ALONE, OURS = "DuckDB's scanner", "customer360"
READERS = {
    SCANNER_ALONE: (Path(sys.executable), SCANNER),
    OURS: (Path(sys.executable), LANDING),
    "connectorx": (PEERS, CONNECTORX),
    "dlt": (PEERS, DLT),
}


def measure(python: Path, program: str, arguments: list[str], environment: dict[str, str]):
    """(seconds, peak MiB) of a program in a process of its own."""
    began, peak, done = time.monotonic(), 0, threading.Event()
    process = psutil.Popen(
        [str(python), "-c", program, *arguments], env={**os.environ, **environment},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def watch():
        nonlocal peak
        while not done.wait(0.02):
            try:
                peak = max(peak, process.memory_info().rss)
            except psutil.Error:
                return

    thread = threading.Thread(target=watch)
    thread.start()
    _, errors = process.communicate()
    seconds = time.monotonic() - began
    done.set()
    thread.join()
    if process.returncode:
        return None, errors.strip().splitlines()[-1:]
    return seconds, peak / 2**20


def fill(server, rows: int) -> None:
    """The same orders in either system."""
    is_postgres = server.format == "postgres"
    numbers = "generate_series(1, {}) as n" if is_postgres else "seq_1_to_{} as numbers"
    number = "n" if is_postgres else "seq"
    moment = (
        f"timestamp '2024-01-01' + {number} * interval '17 seconds'"
        if is_postgres
        else f"timestamp('2024-01-01') + interval 17 * {number} second"
    )
    naive = "timestamp" if is_postgres else "datetime"
    double = "double precision" if is_postgres else "double"
    server.new_database()
    server.run(
        "create table orders (id bigint primary key, phone varchar(20), full_name varchar(50), "
        f"amount numeric(12, 2), quantity int, status varchar(9), score {double}, "
        f"created_at {naive}, changed_at {naive})",
        f"insert into orders select {number}, concat('1380', {number} % 10000000), "
        f"concat('姓名', {number} % 5000), ({number} % 100000) / 100.0, {number} % 1000, "
        f"case {number} % 3 when 0 then 'paid' when 1 then 'new' else 'done' end, "
        f"({number} % 977) / 7.0, {moment}, {moment} from {numbers.format(rows)}",
    )


def bench(server, rows: int, turns: int, root: Path, peers: list[str]) -> None:
    """Measure every reader on one server, and print."""
    import duckdb
    import yaml

    fill(server, rows)
    connection = server.connection()
    columns = {name: {"type": kind} for name, kind in COLUMNS.items()}
    for name in ("id", "changed_at"):
        columns[name]["required"] = True
    config = root / "config"
    config.mkdir(exist_ok=True)
    for name in ("sources", "audiences", "policies"):
        section = yaml.safe_load((PROJECT / "config" / f"{name}.yml").read_text())
        section = section["complete_journey"]
        if name == "sources":
            section["sources"] = {
                "shop": {
                    "title": "Shop", "owner": "bench", "stage": "basic", "format": server.format,
                    "connection": "shop",
                    "tables": {"orders": {"key": ["id"], "cursor": {"column": "changed_at"},
                                          "columns": columns}},
                }
            }  # fmt: skip
        (config / f"{name}.yml").write_text(yaml.safe_dump({"bench": section}, sort_keys=False))
    is_postgres = server.format == "postgres"
    folder = duckdb.__version__
    name = f"{'postgres' if is_postgres else 'mysql'}_scanner"
    package = __import__(f"duckdb_extension_{name}").__path__[0]
    extension = f"{package}/extensions/v{folder}/{name}.duckdb_extension"
    measured: dict[str, list[tuple[float, float]]] = {}

    def run(reader: str) -> None:
        python, program = READERS[reader]
        if not python.exists():
            print(f"{server.format:10}{reader:20} not installed", flush=True)
            return
        with tempfile.TemporaryDirectory(dir=root) as out:
            url = server.scanner_url() if reader == SCANNER_ALONE else server.url()
            environment = {
                "COMPANY": "bench", "CUSTOMER360_CONFIG": str(config), "CUSTOMER360_DATA": out,
                "CUSTOMER360_THREADS": "2", "CUSTOMER360_MEMORY": MEMORY,
                "AIRFLOW_CONN_SHOP": json.dumps(connection),
            }  # fmt: skip
            seconds, peak = measure(
                python, program, [url, server.format, extension, out], environment
            )
        if seconds is None:
            print(f"{server.format:10}{reader:20} failed: {peak}", flush=True)
            return
        print(
            f"{server.format:10}{reader:20}{rows / seconds:12,.0f} rows/s{peak:8,.0f} MiB",
            flush=True,
        )
        measured.setdefault(reader, []).append((seconds, peak))

    for _ in range(turns):
        run(SCANNER_ALONE)
        run(OURS)
    medians = [
        statistics.median(seconds for seconds, _ in measured[reader])
        for reader in (SCANNER_ALONE, OURS)
    ]
    print(
        f"{server.format:10}{OURS} at {medians[0] / medians[1]:.2f} of the scanner's speed "
        f"(medians of {turns}), peak {max(peak for _, peak in measured[OURS]):,.0f} MiB",
        flush=True,
    )
    for reader in peers:
        run(reader)


def main() -> None:
    """Start the servers, and measure."""
    from tests.collect.database_servers import start_mariadb, start_postgres

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=["connectorx", "dlt"])
    systems = {"postgres": start_postgres, "mariadb": start_mariadb}
    parser.add_argument("--systems", nargs="*", default=list(systems), choices=list(systems))
    options = parser.parse_args()
    for system in options.systems:
        with tempfile.TemporaryDirectory(prefix="c360-") as folder:
            Path(folder).chmod(0o755)
            server = systems[system](Path(folder))
            if server is None:
                continue
            try:
                bench(
                    server, options.rows, options.turns, Path(folder),
                    options.peers,
                )  # fmt: skip
            finally:
                server.stop()


if __name__ == "__main__":
    main()
