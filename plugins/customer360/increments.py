"""What a build may keep of the last one: the workspace between nights, and what changed in raw.

What belongs here: deciding whether a build starts from the last good tables or from nothing, saying
which pieces of the sources changed, keeping the workspace of a published run. What does not: how a
table is brought up to date (``dbt_project/macros/increments.sql``).

The kept workspace belongs to one snapshot; both together are where an increment starts. A build is
full, with the same SQL, wherever that is not certain: nothing is kept, its snapshot is not the
current one, the project, its configuration or DuckDB changed, a raw table was made anew (a late
batch, a correction, another contract), a batch was taken back, or the day lies before the kept one.
The workspace holds personal data: restricted.
"""

import datetime as dt
import re
import shutil
from pathlib import Path

import duckdb

from customer360.config import Config
from customer360.exceptions import PublishError
from customer360.publish import snapshot_path
from customer360.settings import Settings
from customer360.transform import project_rules, staging_models, whole_tables
from customer360.warehouse import connect, literal, quote

PIECE = re.compile(r"""piece=["'](\w+)["']""")
"""How a staging model says by which column it reads its source in pieces."""

SCHEMA = """
drop schema if exists changes cascade;
create schema changes;
create schema if not exists increment;
create table if not exists increment.state (name varchar primary key, value varchar);
create table if not exists increment.batches (
    source varchar, table_name varchar, batch varchar, generation varchar
);
create or replace table increment.pieces (
    source varchar, column_name varchar, value varchar, piece varchar
);
"""


_LOADED = (
    "select source, table_name, batch, coalesce(generation, '') as generation "
    "from raw.meta.batches join raw.meta.tables using (source, table_name)"
)
"""SQL: every batch in raw, and which making of its table it stands in."""


def kept_path(settings: Settings) -> Path:
    """The workspace of the last published run."""
    return settings.data_dir / "workspace.duckdb"


def begin(settings: Settings, config: Config, as_of: dt.date, workspace: Path) -> str | None:
    """Make ``workspace`` for a run: a copy of the kept one with what changed since, or empty.

    Returns:
        Why the build must be full; None where it goes on from the current snapshot.
    """
    rules = project_rules(settings, config)
    why = _why_full(settings, rules, as_of)
    if why is None:
        shutil.copyfile(kept_path(settings), workspace)
    cutoff = config.sources.day_end(as_of)
    with connect(settings, workspace) as connection:
        connection.execute(SCHEMA)
        connection.execute(f"attach {literal(settings.raw_path)} as raw (read_only)")
        if why is None:
            since = dt.datetime.fromisoformat(str(_state(connection)["cutoff"]))
            for source, columns in pieces().items():
                if source in config.sources.sources:
                    _find_pieces(connection, config, source, columns, since, cutoff)
        connection.execute(
            "create or replace table increment.batches as select source, table_name, batch, "
            f"generation from ({_LOADED})"
        )
        _set(
            connection,
            as_of=as_of.isoformat(),
            cutoff=cutoff.isoformat(),
            rules=rules,
            why_full=why or "",
        )
    return why


def base(settings: Settings, workspace: Path) -> Path | None:
    """The snapshot that this run goes on from, as :func:`begin` found; None: a full build."""
    with connect(settings, workspace, read_only=True) as connection:
        state = _state(connection)
    return None if state["why_full"] else settings.snapshots_dir / state["snapshot"]


def take_up(settings: Settings, snapshot: Path, work_file: Path) -> None:
    """Make ``work_file`` a copy of ``snapshot``, without the rows that are computed anew anyway.

    What they leave free is filled again, so that the file does not grow from night to night.
    """
    shutil.copyfile(snapshot, work_file)
    with connect(settings, work_file) as connection:
        there = {
            name
            for (name,) in connection.execute(
                "select table_name from duckdb_tables() where schema_name = 'main'"
            ).fetchall()
        }
        for name in whole_tables(settings):
            if name in there:
                connection.execute(f"delete from main.{quote(name)}")
        connection.execute("checkpoint")


def keep(settings: Settings, workspace: Path, snapshot: Path) -> None:
    """Keep the workspace of a run that was published, for the next one to start from."""
    if not workspace.exists():  # an earlier attempt has kept it
        return
    with connect(settings, workspace) as connection:
        connection.execute("drop schema if exists changes cascade")
        _set(connection, snapshot=snapshot.name)
        connection.execute("checkpoint")
    workspace.chmod(0o600)
    workspace.rename(kept_path(settings))


def pieces() -> dict[str, list[str]]:
    """source -> columns by which its staging models read it in pieces."""
    found: dict[str, set[str]] = {}
    for path in staging_models():
        columns = PIECE.findall(path.read_text(encoding="utf-8"))
        if columns:
            found.setdefault(path.parent.name, set()).update(columns)
    return {source: sorted(columns) for source, columns in found.items()}


def _why_full(settings: Settings, rules: str, as_of: dt.date) -> str | None:
    kept = kept_path(settings)
    if not kept.exists():
        return "no earlier build is kept"
    try:
        current = snapshot_path(settings).name
    except PublishError:
        return "nothing is published"
    with connect(settings, kept, read_only=True) as connection:
        state = _state(connection)
        if state.get("snapshot") != current:
            return f"what is kept does not belong to {current}"
        if dt.date.fromisoformat(state["as_of"]) > as_of:
            return f"the last build is of a later day, {state['as_of']}"
        if state["rules"] != rules:
            return "the project or its configuration changed"
        connection.execute(f"attach {literal(settings.raw_path)} as raw (read_only)")
        gone = connection.execute(
            "select distinct source || '.' || table_name from increment.batches where "
            f"(source, table_name, batch, generation) not in (select (source, table_name, batch, "
            f"generation) from ({_LOADED})) order by all"
        ).fetchall()
    if gone:
        return f"raw was made anew: {', '.join(name for (name,) in gone)}"
    return None


def _find_pieces(
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    source: str,
    columns: list[str],
    since: dt.datetime,
    until: dt.datetime,
) -> None:
    """Fill ``increment.pieces`` with what a source's changed rows belong to, or did before."""
    for name, table in config.sources.sources[source].tables.items():
        cut = [column for column in columns if column in table.columns]
        if not cut:
            continue
        key = ", ".join(quote(column) for column in table.key)
        rows = f"raw.{quote(source)}.{quote(name)}"
        connection.execute(
            f"create or replace temp table changed as select distinct {key} from {rows} "
            f"where _version_at < timestamp '{until}' and (_version_at >= timestamp '{since}' or "
            "_batch not in (select batch from increment.batches "
            f"where source = {literal(source)} and table_name = {literal(name)}))"
        )
        for column in cut:
            connection.execute(
                f"insert into increment.pieces select {literal(source)}, {literal(column)}, value, "
                f"{literal(f'{source}.{column}:')} || value from (select distinct "
                f"coalesce({quote(column)}::varchar, '') as value from {rows} "
                f"where ({key}) in (select ({key}) from changed))"
            )


def _state(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    return dict(connection.execute("select name, value from increment.state").fetchall())


def _set(connection: duckdb.DuckDBPyConnection, **values: str) -> None:
    connection.executemany(
        "insert or replace into increment.state values (?, ?)",
        [list(pair) for pair in values.items()],
    )
