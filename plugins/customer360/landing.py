"""Landing: what came in, as it came, in immutable Parquet batches with manifests.

A batch is a folder ``landing/<source>/<table>/<as_of>/<batch>/`` with ``rows.parquet``, perhaps
``rejects.parquet`` (what is not even a row), ``keys.parquet`` (every key that is there, when
deletions were looked for), and ``manifest.json``. It is written aside and appears by one rename, so
a batch is there wholly or not at all; the batches of a source appear when all its tables have been
read, at one moment where the system can do that. What does not belong here: judging rows
(``customer360.contracts``) or their current state (``customer360.raw``).
"""

import contextlib
import datetime as dt
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from customer360.config import Config, Table
from customer360.contracts import Verdict, check_schema, typed_value
from customer360.exceptions import SourceError, SourceUnavailableError
from customer360.settings import Settings
from customer360.sources import open_session
from customer360.sources.relation import Arrived, Reading, Relation, Session, TakenFile
from customer360.warehouse import connect, first_line, is_disk_full, literal, quote

MANIFEST_VERSION = 2
REFUSED = "REFUSED"
"""Marks a batch that its gate has refused; an empty file in its folder."""

ATTEMPTS = 3
BACK_OFF_SECONDS = 2.0
"""Before a source that did not answer is read again, from its start: then twice as long."""


@dataclass(frozen=True)
class Batch:
    """The manifest of a batch.

    Attributes:
        mode: ``window`` (rows by cursor), ``files`` (of files that are each taken once) or
            ``full`` (the whole table as of that day).
        cursor_from, cursor_to: the window in naive UTC, [from, to); None where open.
        rows, rejects: how many rows came in, how many lines were not rows.
        content: hash of the rows, whatever their order; equal content is landed once.
        sha256: of the files, by name.
        columns: name -> type as the source had them.
        notes: accepted differences from the contract.
        files: what was taken, for files that are each taken once.
        is_sweep: whether ``keys.parquet`` lists every key that was there.
        supersedes: the batch of the same reading whose rows this one has corrected.
        lane: ``nightly``, or ``hourly`` for a part of a day that had not ended.
    """

    source: str
    table: str
    as_of: str
    batch: str
    mode: str
    cursor_from: str | None
    cursor_to: str
    rows: int
    rejects: int
    content: str
    sha256: dict[str, str]
    columns: dict[str, str]
    landed_at: str
    notes: list[str] = field(default_factory=list)
    files: list[TakenFile] = field(default_factory=list)
    is_sweep: bool = False
    supersedes: str | None = None
    lane: str = "nightly"
    version: int = MANIFEST_VERSION

    @property
    def day(self) -> dt.date:
        """The as-of day."""
        return dt.date.fromisoformat(self.as_of)

    def folder(self, settings: Settings) -> Path:
        """Where the batch lies."""
        return settings.landing_dir / self.source / self.table / self.as_of / self.batch


def batches(settings: Settings, source: str | None = None, table: str | None = None) -> list[Batch]:
    """Manifests that are there, by table, as-of day and the order in which they landed."""
    found = []
    pattern = f"{source or '*'}/{table or '*'}/*/*/manifest.json"
    for path in settings.landing_dir.glob(pattern):
        if path.parent.name.startswith("."):
            continue
        manifest = json.loads(path.read_text(encoding="utf-8"))
        manifest["files"] = [TakenFile(**file) for file in manifest.get("files", ())]
        found.append(Batch(**manifest))
    return sorted(found, key=lambda batch: (batch.source, batch.table, batch.as_of, batch.batch))


def extract_source(
    settings: Settings,
    config: Config,
    source: str,
    as_of: dt.date,
    until: dt.datetime | None = None,
) -> Iterator[tuple[Batch, bool]]:
    """Land every table of ``source`` as of the end of ``as_of``.

    With ``until`` (naive UTC, within the day) what has happened by then is landed, for the hourly
    lane: tables that grow by a cursor or by files, because the state of the others is the night's.

    Yields:
        Each table's batch, and whether it is new (False: the same content had landed before).

    Raises:
        SourceError: the source cannot be read, or its schema has drifted too far.
    """
    if source not in config.sources.sources:
        raise SourceError(f"sources.yml has no source '{source}' for {settings.company}")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            landed = _read_tables(settings, config, source, as_of, until)
            break
        except SourceUnavailableError:
            if attempt == ATTEMPTS:
                raise
            time.sleep(BACK_OFF_SECONDS * 2 ** (attempt - 1))
    for batch, aside in landed:
        if aside:
            aside.rename(batch.folder(settings))
        # Not before: what was fetched is spared another attempt while a later table fails.
        shutil.rmtree(_workspace(settings, source, batch.table, as_of, until), ignore_errors=True)
        yield batch, aside is not None


def _workspace(
    settings: Settings, source: str, table: str, as_of: dt.date, until: dt.datetime | None
) -> Path:
    """Where a reading of a table keeps what must not be fetched again."""
    lane = "hourly" if until else "nightly"
    return settings.landing_dir / source / table / f".reading-{lane}-{as_of}"


def _read_tables(
    settings: Settings,
    config: Config,
    source: str,
    as_of: dt.date,
    until: dt.datetime | None,
) -> list[tuple[Batch, Path | None]]:
    """Each table's batch in one session, and where a new one lies until all are there."""
    declared = config.sources.sources[source]
    session = open_session(settings, source, declared)
    with contextlib.closing(session):
        return [
            _extract_table(settings, config, session, source, name, as_of, until)
            for name, table in declared.tables.items()
            if until is None or table.cursor or table.each_file == "once"
        ]


def _extract_table(
    settings: Settings,
    config: Config,
    session: Session,
    source: str,
    table: str,
    as_of: dt.date,
    until: dt.datetime | None,
) -> tuple[Batch, Path | None]:
    """Read one table; see ``_read_tables``."""
    declared = config.sources.sources[source]
    contract = declared.tables[table]
    name = f"{source}.{table}"
    lane = "hourly" if until else "nightly"
    same_or_earlier = [batch for batch in batches(settings, source, table) if batch.day <= as_of]
    end = until or config.sources.day_end(as_of)
    # What came before this reading, the same on a rerun: earlier days, and hours of this one.
    before = [
        batch
        for batch in same_or_earlier
        if batch.day < as_of or (batch.lane == "hourly" and batch.cursor_to < end.isoformat())
    ]
    start = _window_start(contract, before, lane)
    reading = Reading(
        settings=settings,
        company=config.sources,
        source_name=source,
        source=declared,
        table_name=table,
        table=contract,
        as_of=as_of,
        start=start,
        end=end,
        taken=tuple(file for batch in before for file in batch.files),
        is_sweep=lane == "nightly" and _is_sweep_due(contract, before, as_of),
        workspace=_workspace(settings, source, table, as_of, until),
    )
    known = session.columns(table, contract)
    if known is not None:
        check_schema(name, contract, known, config.policies.drift)
    with contextlib.ExitStack() as opened:
        connection = session.connection or opened.enter_context(connect(settings))
        relation = session.relation(connection, reading)
        again = [batch for batch in same_or_earlier if batch.cursor_to == end.isoformat()]
        standing = _standing(settings, again, relation)
        if standing is not None:
            return standing, None
        wanted: Relation | None = relation
        while wanted:
            verdict = check_schema(name, contract, wanted.columns, config.policies.drift)
            relation = _as_declared(wanted, verdict)
            where = "true"
            if not relation.is_windowed:
                where = _window_condition(contract, relation, config, start, end)
            aside = _aside(settings, source, table, as_of.isoformat())
            arrived = _copy_rows(connection, name, relation, where, aside)
            # Under the source's names, which come first and in its order.
            pairs = zip(wanted.columns, relation.columns, strict=False)
            wanted = wanted.amended({ours: arrived[new] for ours, new in pairs if new in arrived})
        rows, rejects, content, hashes = _finish(connection, name, contract, relation, aside)
        taken = sum(file.rows for file in relation.files)
        if relation.files and taken != rows + rejects:
            raise SourceError(
                f"{name}: control total: the files hold {taken} rows, {rows + rejects} were "
                "landed. This is a fault of customer360."
            )
        same = _same_content(same_or_earlier, contract, content, as_of)
        if same is not None:
            shutil.rmtree(aside)
            return same, None
        number = sum(batch.day == as_of for batch in same_or_earlier) + 1
        batch = Batch(
            source=source,
            table=table,
            as_of=as_of.isoformat(),
            batch=f"{number:04d}-{content[:12]}",
            mode=_mode(contract),
            cursor_from=start.isoformat() if start else None,
            cursor_to=end.isoformat(),
            rows=rows,
            rejects=rejects,
            content=content,
            sha256=hashes,
            columns=relation.columns,
            landed_at=_now(),
            notes=list(verdict.notes),
            files=relation.files,
            is_sweep=relation.keys_sql is not None,
            lane=lane,
        )
        _write_manifest(aside, batch)
        return batch, aside


def supersede(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    contract: Table,
    batch: Batch,
    relation: Relation,
) -> Batch:
    """Land ``relation`` in the place of ``batch``: the same reading, with corrected rows."""
    aside = _aside(settings, batch.source, batch.table, batch.as_of)
    name = f"{batch.source}.{batch.table}"
    try:
        _copy_rows(connection, name, relation, "true", aside)
        rows, rejects, content, hashes = _finish(connection, name, contract, relation, aside)
    except SourceError:
        shutil.rmtree(aside)
        raise
    same_day = [
        other
        for other in batches(settings, batch.source, batch.table)
        if other.as_of == batch.as_of
    ]
    corrected = replace(
        batch,
        batch=f"{len(same_day) + 1:04d}-{content[:12]}",
        rows=rows,
        rejects=rejects,
        content=content,
        sha256=hashes,
        landed_at=_now(),
        supersedes=batch.batch,
    )
    _write_manifest(aside, corrected)
    aside.rename(corrected.folder(settings))
    return corrected


def _aside(settings: Settings, source: str, table: str, as_of: str) -> Path:
    """A fresh folder in which a batch is written before it appears."""
    parent = settings.landing_dir / source / table / as_of
    parent.mkdir(parents=True, exist_ok=True)
    for leftover in parent.glob(".landing-*"):
        shutil.rmtree(leftover)
    aside = parent / f".landing-{hashlib.sha256(f'{source}.{table}'.encode()).hexdigest()[:8]}"
    aside.mkdir()
    return aside


def _write_manifest(aside: Path, batch: Batch) -> None:
    manifest = json.dumps(asdict(batch), indent=1, ensure_ascii=False)
    (aside / "manifest.json").write_text(manifest, encoding="utf-8")


def _hashes(folder: Path) -> dict[str, str]:
    return {file.name: _sha256(file) for file in sorted(folder.iterdir())}


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _as_declared(relation: Relation, verdict: Verdict) -> Relation:
    """The relation under the contract's names, with empty columns for those that are gone."""
    if not verdict.renamed and not verdict.absent:
        return relation
    names = {new: old for old, new in verdict.renamed.items()}
    columns = {names.get(column, column): kind for column, kind in relation.columns.items()}
    columns |= dict.fromkeys(verdict.absent, "VARCHAR")
    renames = [f"{quote(new)} as {quote(old)}" for old, new in verdict.renamed.items()]
    renamed = f"* rename ({', '.join(renames)})" if renames else "*"
    empty = "".join(f", null::varchar as {quote(column)}" for column in verdict.absent)
    sql = f"select {renamed}{empty} from ({relation.sql})"
    return replace(relation, sql=sql, columns=columns)


def _mode(contract: Table) -> str:
    if contract.each_file == "once":
        return "files"
    return "window" if contract.cursor else "full"


HOURLY_LOOK_BACK = dt.timedelta(hours=2)
"""Rows that come later than this are the nightly run's, which looks back by days."""


def _window_start(contract: Table, before: list[Batch], lane: str) -> dt.datetime | None:
    """Where the window begins (naive UTC): what is covered, less the look-back; None: no bound."""
    if contract.cursor is None or not before:
        return None
    look_back = dt.timedelta(days=contract.cursor.look_back_days)
    if lane == "hourly":
        look_back = min(look_back, HOURLY_LOOK_BACK)
    return max(dt.datetime.fromisoformat(batch.cursor_to) for batch in before) - look_back


def _standing(settings: Settings, again: list[Batch], relation: Relation) -> Batch | None:
    """The batch of this very reading, if it took a file that is no longer there.

    Nothing can replace it; what came since belongs to the next reading. A batch that its gate
    refused can be replaced.

    Args:
        again: batches that this reading made before.
    """
    if not again or (again[-1].folder(settings) / REFUSED).exists():
        return None
    there = {file.sha256 for file in relation.files}
    is_whole = all(file.sha256 in there for file in again[-1].files)
    return None if is_whole else again[-1]


def _is_sweep_due(contract: Table, earlier: list[Batch], as_of: dt.date) -> bool:
    """Whether the last sweep of an earlier day lies far enough back; there is always a first."""
    if contract.deletes is None:
        return False
    swept = [batch.day for batch in earlier if batch.is_sweep]
    return not swept or (as_of - max(swept)).days >= contract.deletes.every_days


def _window_condition(
    contract: Table,
    relation: Relation,
    config: Config,
    start: dt.datetime | None,
    end: dt.datetime,
) -> str:
    """The window in the source's own clock, so that the filter can be pushed down.

    A cursor that is empty or unreadable passes: the contract will refuse that row with a reason.
    """
    if contract.cursor is None:
        return "true"
    name = contract.cursor.column
    column = contract.columns[name]
    zone = config.sources.zone_of(column)
    cursor, clock = quote(name), zone
    if relation.columns[name] == "VARCHAR" or column.format:
        # As the contract reads it; the source cannot compare its own text with a moment.
        cursor = typed_value(name, column, relation.columns[name], config.sources)
        clock = zone if column.type == "date" else ZoneInfo("UTC")

    def local(moment: dt.datetime) -> str:
        return str(moment.replace(tzinfo=dt.UTC).astimezone(clock).replace(tzinfo=None))

    condition = f"{cursor} < timestamp {literal(local(end))}"
    if start is not None:
        condition += f" and {cursor} >= timestamp {literal(local(start))}"
    return f"(({condition}) or {cursor} is null)"


PARQUET = "format parquet, compression zstd"


def _copy_rows(
    connection: duckdb.DuckDBPyConnection, name: str, relation: Relation, where: str, aside: Path
) -> dict[str, Arrived]:
    """Write the rows; what has arrived in each column."""
    file = literal(aside / "rows.parquet")
    with _naming(name), relation.guard():
        answer = connection.execute(
            f"copy ({relation.sql} where {where}) to {file} ({PARQUET}, return_stats)"
        )
        names = [column[0] for column in answer.description or []]
        ((*counted,),) = answer.fetchall()
    statistics = dict(zip(names, counted, strict=True))["column_statistics"]
    return {
        column: Arrived(
            least=found.get("min"),
            most=found.get("max"),
            nulls=int(found["null_count"]),
            values=int(found["num_values"]),
        )
        for column in relation.columns
        if (found := statistics.get(quote(column)))
    }


def _finish(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    contract: Table,
    relation: Relation,
    aside: Path,
) -> tuple[int, int, str, dict[str, str]]:
    """Write the files beside the rows; (rows, rejects, content hash, files' hashes)."""
    rows_file, keys_file = aside / "rows.parquet", aside / "keys.parquet"
    rejects = 0
    with _naming(name), ThreadPoolExecutor(1) as beside:
        if relation.keys_sql:
            with relation.guard():
                connection.execute(
                    f"copy ({relation.keys_sql}) to {literal(keys_file)} ({PARQUET})"
                )
        if relation.rejects_sql:
            rejects = connection.execute(
                f"select count(*) from ({relation.rejects_sql})"
            ).fetchall()[0][0]
        if rejects:
            rejects_file = literal(aside / "rejects.parquet")
            connection.execute(f"copy ({relation.rejects_sql}) to {rejects_file} ({PARQUET})")
        hashes = beside.submit(_hashes, aside)
        rows, content = _digest(connection, rows_file, list(relation.columns))
        keys = _digest(connection, keys_file, list(contract.key)) if relation.keys_sql else None
    shape = json.dumps([relation.columns, rows, content, rejects, keys])
    return rows, rejects, hashlib.sha256(shape.encode()).hexdigest(), hashes.result()


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Say which table DuckDB's complaint is about."""
    try:
        yield
    except duckdb.Error as error:
        if is_disk_full(error):
            raise
        raise SourceError(f"{name}: reading stopped: {first_line(error)}") from None


def _digest(
    connection: duckdb.DuckDBPyConnection, file: Path, columns: list[str]
) -> tuple[int, int]:
    """Rows of a file, and a hash of them whatever their order.

    The hash is quick and not for ever: another version of DuckDB may land a content once more,
    which raw takes for what it is, duplicates.
    """
    cells = ", ".join(map(quote, columns))
    rows, content = connection.execute(
        f"select count(*), coalesce(sum(hash({cells})), 0) from {literal(file)}"
    ).fetchall()[0]
    return int(rows), int(content)


def _same_content(
    earlier: list[Batch], contract: Table, content: str, as_of: dt.date
) -> Batch | None:
    """The batch that already holds this content, if the table's state needs no new one.

    A window, or what new files hold, is compared with batches of the same day; a full table with
    the last one before.
    """
    if contract.cursor or contract.each_file == "once":
        same_day = [batch for batch in earlier if batch.day == as_of]
        return next((batch for batch in same_day if batch.content == content), None)
    if not earlier:
        return None
    # A batch stands for what it corrected as well, or reading again would undo the correction.
    contents = {batch.batch: batch for batch in earlier if batch.as_of == earlier[-1].as_of}
    same: Batch | None = earlier[-1]
    while same is not None and same.content != content:
        same = contents.get(same.supersedes or "")
    return earlier[-1] if same else None


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def with_file(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    """A landed file as a relation with ``_file``, null for systems without files."""
    scan = f"read_parquet({literal(path)})"
    names = connection.execute(f"select column_name from (describe from {scan})").fetchall()
    return scan if ("_file",) in names else f"(select null::varchar as _file, * from {scan})"


def verify(settings: Settings, batch: Batch) -> dict[str, Path]:
    """The batch's data files after their hashes were compared with the manifest.

    Raises:
        SourceError: a file is missing or altered.
    """
    files = {}
    for name, expected in batch.sha256.items():
        path = batch.folder(settings) / name
        if not path.is_file() or _sha256(path) != expected:
            raise SourceError(
                f"landing {batch.source}.{batch.table} {batch.as_of} {batch.batch}: {name} is "
                "missing or is not what its manifest says. Remove the batch's folder and ingest "
                "the day again."
            )
        files[name] = path
    return files


def totals(landed: list[tuple[Batch, bool]]) -> dict[str, Any]:
    """Counts for logs and XCom: no names of files, no values."""
    return {
        batch.table: {"read": batch.rows + batch.rejects, "batch": batch.batch, "new": new}
        for batch, new in landed
    }
