"""A small company for tests: settings in a folder, and marts whose every table knows its run."""

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import Engine

from customer360 import publish, state
from customer360.settings import Settings

DAY = dt.date(2026, 3, 1)
TABLES = ("customers", "orders", "customer_360")
INFO: dict[str, Any] = {
    "model_versions": {"churn": "1"},
    "tables": {
        "customers": {"key": ["customer_id"], "volatile": ["run_id"]},
        "orders": {"key": ["order_id"], "volatile": ["run_id"]},
        "customer_360": {"kind": "scores", "key": ["customer_id"], "volatile": ["run_id"]},
    },
}


def make_settings(folder: Path) -> Settings:
    return Settings("acme", folder / "acme", threads=2, memory_limit="500MB")


def open_state(settings: Settings) -> Engine:
    engine = state.engine(settings)
    state.ensure(engine)
    return engine


def write_marts(settings: Settings, run_id: str, rows: int = 20) -> Path:
    """A work file as the build leaves it: three tables that all name the run."""
    path = settings.work_dir / run_id / "marts.duckdb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with duckdb.connect(str(path)) as connection:
        numbers = f"range({rows}) numbers(number)"
        run = f"'{run_id}' as run_id"
        connection.execute(
            f"create table customers as select 'c' || number as customer_id,"
            f" 'tier' || number % 3 as tier, {run} from {numbers}"
        )
        connection.execute(
            f"create table orders as select number as order_id,"
            f" 'c' || number % 7 as customer_id, {run} from {numbers}"
        )
        connection.execute(
            f"create table customer_360 as select customer_id, 0.5 as churn_probability, {run}"
            " from customers"
        )
    return path


def publish_run(
    settings: Settings,
    run_id: str,
    as_of: dt.date = DAY,
    rows: int = 20,
    retention: publish.Retention | None = None,
) -> Path:
    """Begin a run, build its marts and publish them."""
    engine = open_state(settings)
    state.begin_run(engine, run_id, as_of)
    work_file = write_marts(settings, run_id, rows)
    return publish.publish(settings, engine, work_file, run_id, as_of, INFO, retention=retention)


def run_ids(path: Path) -> set[str]:
    """The run ids that a reader sees over all tables of a file."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return {
            row[0]
            for table in (*TABLES, "snapshot_info")
            for row in connection.execute(f"select distinct run_id from {table}").fetchall()
        }


def publish_tables(
    settings: Settings, run_id: str, as_of: dt.date, info: dict[str, Any], **tables: str
) -> Path:
    """Begin a run and publish marts whose tables are these queries."""
    engine = open_state(settings)
    state.begin_run(engine, run_id, as_of)
    path = settings.work_dir / run_id / "marts.duckdb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with duckdb.connect(str(path)) as connection:
        for name, query in tables.items():
            connection.execute(f"create table {name} as {query}")
    return publish.publish(settings, engine, path, run_id, as_of, info)
