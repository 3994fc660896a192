"""The decision state: what was decided and cannot be rebuilt from the sources.

What belongs here: runs and their fencing tokens, their steps, the ledger of exports, which
snapshots were published and taken back; later stable ids, reviews, champions, hold-outs and
tombstones. Other modules may add tables to :data:`metadata`. What does not belong here: anything
that a run can compute again from landing, and any personal data.

One transactional store: SQLite beside the company's data, or PostgreSQL by URL, where each company
has a schema of its own. A transaction takes the write lock when it begins (a read that turns into
a write cannot fail half-way), so keep transactions short: never hold one open while a step works.

**Fencing.** Each run gets a token from a counter that only grows. What a run does to the outside
world (the snapshot pointer, an export folder) happens inside :func:`fence`, which holds back every
run that wants to begin and refuses a run that has been overtaken, so that a zombie that wakes up
late cannot publish over the work of its successor.
"""

import datetime as dt
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Date,
    DateTime,
    Dialect,
    Engine,
    Float,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateSchema
from sqlalchemy.types import TypeDecorator

from customer360.exceptions import BusyError, ConfigError
from customer360.settings import Settings

SCHEMA_VERSION = 2
"""Version of the tables below; a store of a version that nothing leads from is refused."""

MIGRATIONS = {"1": ("alter table {deliveries} rename to exports",)}
"""Version -> statements that lead to the next one; names in braces get their schema."""

BUSY_SECONDS = 30
"""How long a transaction waits for the write lock before it fails."""

STATUSES = ("started", "published", "failed", "overtaken", "withdrawn")
"""A run is ``withdrawn`` when its snapshot was taken back: no later run measures itself by it."""

metadata = MetaData()


class UtcDateTime(TypeDecorator[dt.datetime]):
    """A moment: aware in Python, kept as UTC without zone, so that every engine sorts it right."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> Any:  # noqa: ARG002, SQLAlchemy's signature
        """To UTC; a moment without zone is a mistake of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without time zone cannot be kept in the decision state")
        return value.astimezone(dt.UTC).replace(tzinfo=None)

    def process_result_value(
        self,
        value: Any | None,
        dialect: Dialect,  # noqa: ARG002, SQLAlchemy's signature
    ) -> dt.datetime | None:
        """Back with its zone."""
        return None if value is None else value.replace(tzinfo=dt.UTC)


state_info = Table(
    "state_info",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", String(255), nullable=False),
    comment="Whose state this is and in which version of the tables.",
)

counters = Table(
    "counters",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
    comment="Numbers that only grow; the row is the lock under which they are given out.",
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", String(250), primary_key=True),
    Column("as_of", Date, nullable=False),
    Column("token", BigInteger, nullable=False, unique=True),
    Column("status", String(16), nullable=False),
    Column("snapshot", String(400)),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("summary", JSON),
    comment="One row a run of the chain; token is its fencing token.",
)

steps = Table(
    "steps",
    metadata,
    Column("run_id", String(250), primary_key=True),
    Column("step", String(100), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("status", String(16), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seconds", Float),
    Column("result", JSON),
    comment="One row an attempt at a step; result holds counts and ids, never a person's data.",
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("name", String(400), primary_key=True),
    Column("run_id", String(250), nullable=False),
    Column("as_of", Date, nullable=False),
    Column("published_at", UtcDateTime, nullable=False),
    Column("became_current_at", UtcDateTime),
    Column("withdrawn_at", UtcDateTime),
    Column("removed_at", UtcDateTime),
    comment="Published files: when each was current, was taken back, was removed by retention.",
)

exports = Table(
    "exports",
    metadata,
    Column("delivery_id", Integer, primary_key=True, autoincrement=True),
    Column("destination", String(100), nullable=False),
    Column("as_of", Date, nullable=False),
    Column("run_id", String(250), nullable=False),
    Column("version", String(400), nullable=False),
    Column("file_hash", String(64), nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("rows_added", BigInteger, nullable=False),
    Column("rows_changed", BigInteger, nullable=False),
    Column("rows_removed", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("acknowledged_at", UtcDateTime),
    comment="The ledger of files: what was written under which name; the last acknowledged row is"
    " the state that receivers hold. What goes to each customer's row is in deliveries.",
)


def now() -> dt.datetime:
    """The present moment in UTC; for the record only, no content may depend on it."""
    return dt.datetime.now(dt.UTC)


def engine(settings: Settings) -> Engine:
    """Engine of the company's decision state; open one in each process that needs it.

    Connections are not pooled, so an engine survives a fork and leaves nothing open.
    """
    url = make_url(settings.state_url)
    if url.get_backend_name() == "sqlite":
        if url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        store = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})
        event.listen(store, "connect", _configure_sqlite)
        event.listen(store, "begin", _begin_immediate)
        return store.execution_options(company=settings.company)
    if url.get_backend_name() == "postgresql":
        store = create_engine(
            url,
            poolclass=NullPool,
            connect_args={"options": f"-c lock_timeout={BUSY_SECONDS}s -c timezone=UTC"},
        )
        return store.execution_options(
            company=settings.company, schema_translate_map={None: settings.company}
        )
    raise ConfigError(
        f"CUSTOMER360_STATE_URL: the decision state is kept in sqlite or postgresql,"
        f" not in {url.get_backend_name()}"
    )


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours: see _begin_immediate
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    # Changing to WAL does not wait for other connections, so a first start of two processes
    # would fail by chance without a second look.
    for _ in range(100):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            break
        except Exception as error:
            if "locked" not in str(error):
                raise
            time.sleep(0.05)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except OperationalError as error:
        if "locked" not in str(error):
            raise
        raise BusyError(
            f"the decision state {connection.engine.url.database} was locked by another process"
            f" for {BUSY_SECONDS} s; see which run holds it (`customer360 status`) and retry"
        ) from error


def opened(settings: Settings) -> Engine:
    """Engine of the company's decision state, with its tables made."""
    store = engine(settings)
    ensure(store)
    return store


def ensure(engine: Engine) -> None:
    """Create the tables that are missing; safe to call at any time from many processes.

    Raises:
        ConfigError: the store belongs to another company, or to another version of customer360.
    """
    company = str(engine.get_execution_options().get("company", ""))
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtext(:lock))"),
                {"lock": f"customer360 state {company}"},
            )
            connection.execute(CreateSchema(company, if_not_exists=True))
        _migrate(connection, company)
        metadata.create_all(connection)
        known: dict[str, str] = {
            row.key: row.value
            for row in connection.execute(select(state_info.c.key, state_info.c.value))
        }
        for key, value in (("schema_version", str(SCHEMA_VERSION)), ("company", company)):
            if key not in known:
                connection.execute(insert(state_info).values(key=key, value=value))
            elif known[key] != value:
                raise ConfigError(
                    f"the decision state at {engine.url.render_as_string()} has {key}"
                    f" {known[key]!r}, this is {value!r}: point CUSTOMER360_STATE_URL at"
                    " a store of its own for each company and migrate it on an upgrade"
                )
        if connection.execute(select(counters.c.name)).first() is None:
            connection.execute(insert(counters).values(name="token", value=0))


def _migrate(connection: Connection, company: str) -> None:
    """Lead the tables of an older version to this one, in the transaction of the caller."""
    schema = company if connection.dialect.name == "postgresql" else None
    if not inspect(connection).has_table("state_info", schema=schema):
        return
    of_version = select(state_info.c.value).where(state_info.c.key == "schema_version")
    version = connection.execute(of_version).scalar()
    prefix = f"{connection.dialect.identifier_preparer.quote(schema)}." if schema else ""
    while version in MIGRATIONS:
        for statement in MIGRATIONS[version]:
            connection.execute(text(statement.format(deliveries=f"{prefix}deliveries")))
        version = str(int(version) + 1)
        connection.execute(
            update(state_info).where(state_info.c.key == "schema_version").values(value=version)
        )


# --- runs and their tokens ------------------------------------------------------------------


def begin_run(engine: Engine, run_id: str, as_of: dt.date) -> int:
    """Begin a run and return its fencing token; call it in the first step of the chain only.

    Calling it again for a run that is still going on returns the same token, so the first step
    may be retried. A run that has ended, or was overtaken by one that has ended since, begins
    anew with a new token: it starts from the present state of the world again.

    Raises:
        BusyError: a newer run is going on; this one has been overtaken and must stay so.
    """
    overtaken: BusyError | None = None
    token = 0
    with engine.begin() as connection:
        _hold_tokens(connection)
        row = _run(connection, run_id)
        newer = _newest_after(connection, row["token"]) if row else None
        if row and newer and newer["status"] == "started":
            overtaken = _overtake(connection, run_id, newer)
        elif row and not newer and row["status"] == "started":
            token = int(row["token"])
        else:
            given = counters.c.name == "token"
            connection.execute(update(counters).where(given).values(value=counters.c.value + 1))
            token = connection.execute(select(counters.c.value).where(given)).scalar_one()
            values = {
                "as_of": as_of,
                "token": token,
                "status": "started",
                "started_at": now(),
                "ended_at": None,
            }
            if row:
                connection.execute(update(runs).where(runs.c.run_id == run_id).values(values))
            else:
                connection.execute(insert(runs).values(run_id=run_id, **values))
    if overtaken:
        raise overtaken
    return token


def check_token(engine: Engine, run_id: str) -> None:
    """Stop a run that has been overtaken, before it spends more work.

    Raises:
        BusyError: a newer run has begun since, or this run was never begun.
    """
    overtaken: BusyError | None
    with engine.begin() as connection:
        overtaken = _check(connection, run_id)
    if overtaken:
        raise overtaken


@contextmanager
def fence(engine: Engine, run_id: str) -> Iterator[Connection]:
    """A transaction in which no other run can begin; for the moment of an outward effect.

    Keep it to a rename and the rows that record it.

    Raises:
        BusyError: the run has been overtaken; the block is not entered.
    """
    with engine.begin() as connection:
        _hold_tokens(connection)
        overtaken = _check(connection, run_id)
        if overtaken is None:
            yield connection
    if overtaken:
        raise overtaken


def end_run(
    engine: Engine, run_id: str, status: str, summary: dict[str, Any] | None = None
) -> None:
    """Close a run as ``published`` or ``failed``; one that was overtaken stays ``overtaken``."""
    if status not in ("published", "failed"):
        raise ValueError(f"a run ends as published or failed, not {status!r}")
    with engine.begin() as connection:
        row = _run(connection, run_id)
        if row is None:
            raise BusyError(f"run {run_id} was never begun; the first step begins it")
        values: dict[str, Any] = {"ended_at": now()}
        if row["status"] != "overtaken":
            values["status"] = status
        if summary is not None:
            values["summary"] = summary
        connection.execute(update(runs).where(runs.c.run_id == run_id).values(values))


def get_run(engine: Engine, run_id: str) -> RowMapping | None:
    """The row of a run, or None."""
    with engine.begin() as connection:
        return _run(connection, run_id)


def last_run(engine: Engine, status: str | None = None) -> RowMapping | None:
    """The run that began last (of those with ``status``), or None."""
    query = select(runs).order_by(runs.c.token.desc()).limit(1)
    if status:
        query = query.where(runs.c.status == status)
    with engine.begin() as connection:
        return connection.execute(query).mappings().first()


def last_published(engine: Engine, not_after: dt.date) -> RowMapping | None:
    """The newest published run of the latest day that is not after ``not_after``, or None."""
    query = (
        select(runs)
        .where(runs.c.status == "published", runs.c.as_of <= not_after)
        .order_by(runs.c.as_of.desc(), runs.c.token.desc())
        .limit(1)
    )
    with engine.begin() as connection:
        return connection.execute(query).mappings().first()


def _run(connection: Connection, run_id: str) -> RowMapping | None:
    return connection.execute(select(runs).where(runs.c.run_id == run_id)).mappings().first()


def _hold_tokens(connection: Connection) -> None:
    """Lock the counter until the transaction ends (SQLite holds the whole store already)."""
    connection.execute(
        update(counters).where(counters.c.name == "token").values(value=counters.c.value)
    )


def _newest_after(connection: Connection, token: int) -> RowMapping | None:
    query = select(runs).where(runs.c.token > token).order_by(runs.c.token.desc()).limit(1)
    return connection.execute(query).mappings().first()


def _check(connection: Connection, run_id: str) -> BusyError | None:
    """None for the newest run; else the error, with the run marked as overtaken."""
    row = _run(connection, run_id)
    if row is None:
        return BusyError(f"run {run_id} was never begun; the first step begins it")
    newer = _newest_after(connection, row["token"])
    return _overtake(connection, run_id, newer) if newer else None


def _overtake(connection: Connection, run_id: str, newer: RowMapping) -> BusyError:
    connection.execute(
        update(runs)
        .where(runs.c.run_id == run_id, runs.c.status == "started")
        .values(status="overtaken", ended_at=now())
    )
    return BusyError(
        f"run {run_id} has been overtaken by run {newer['run_id']} ({newer['status']}, begun"
        f" {newer['started_at']:%Y-%m-%d %H:%M:%S} UTC) and can publish nothing any more;"
        " its data comes with the next run"
    )


# --- steps ----------------------------------------------------------------------------------


@contextmanager
def record_step(engine: Engine, run_id: str, step: str) -> Iterator[dict[str, Any]]:
    """Record an attempt at a step: when, how long, how it ended, and what it counted.

    The block fills the dict it is given with counts and ids (JSON types, no personal data). An
    attempt that is killed stays as ``started`` without seconds; the next one is a row of its own.
    """
    with engine.begin() as connection:
        done = connection.execute(
            select(steps.c.attempt)
            .where(steps.c.run_id == run_id, steps.c.step == step)
            .order_by(steps.c.attempt.desc())
        ).scalar()
        attempt = (done or 0) + 1
        connection.execute(
            insert(steps).values(
                run_id=run_id, step=step, attempt=attempt, status="started", started_at=now()
            )
        )
    clock = time.monotonic()
    result: dict[str, Any] = {}
    status = "failed"
    try:
        yield result
        json.dumps(result)  # here the caller can still be blamed by line
        status = "done"
    except BaseException as error:
        result = {"error": type(error).__name__}  # its message may quote data
        raise
    finally:
        with engine.begin() as connection:
            connection.execute(
                update(steps)
                .where(steps.c.run_id == run_id, steps.c.step == step, steps.c.attempt == attempt)
                .values(status=status, seconds=time.monotonic() - clock, result=result)
            )


def last_day_of(engine: Engine, prefix: str) -> dt.date | None:
    """The newest day in ids ``<prefix><day>`` of recorded steps."""
    query = select(func.max(steps.c.run_id)).where(steps.c.run_id.startswith(prefix))
    with engine.begin() as connection:
        newest = connection.execute(query).scalar()
    return dt.date.fromisoformat(newest.removeprefix(prefix)) if newest else None


def run_steps(engine: Engine, run_id: str) -> list[RowMapping]:
    """The attempts of a run in the order in which they began."""
    query = select(steps).where(steps.c.run_id == run_id).order_by(steps.c.started_at)
    with engine.begin() as connection:
        return list(connection.execute(query).mappings())


def done_steps(engine: Engine, run_prefix: str, step_prefix: str) -> list[tuple[str, str]]:
    """(run, step) of every attempt that ended well, of runs and steps whose names begin so."""
    query = select(steps.c.run_id, steps.c.step).where(
        steps.c.status == "done",
        steps.c.run_id.startswith(run_prefix, autoescape=True),
        steps.c.step.startswith(step_prefix, autoescape=True),
    )
    with engine.begin() as connection:
        return [(row.run_id, row.step) for row in connection.execute(query.distinct())]
