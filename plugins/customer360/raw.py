"""The raw layer: every version of every row, typed by contract, in one restricted DuckDB file.

A table ``<source>.<table>`` only ever gains rows: a version holds the contract's columns and
``_version_at`` (UTC: the cursor's value, or the end of the day for full tables), ``_as_of`` (the
day we learned it), ``_is_deleted``, ``_row_hash`` and ``_batch``. The state at any day is the last
version of each key before that day's end (of two with one moment, the one read on the later day).
Batches are loaded in the order of their days; one that comes late has its table made again from
landing, so the order in which batches arrive does not matter.
What does not belong here: reading sources, or any meaning of the columns.
"""

import datetime as dt
import hashlib
import json
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb

from customer360 import collection_quality, landing
from customer360.config import Config, Table
from customer360.contracts import Rule, rules, sql_type, typed_select
from customer360.exceptions import Customer360Error, DamagedFileError
from customer360.landing import Batch
from customer360.settings import Settings
from customer360.warehouse import connect, first_line, is_disk_full, literal, quote, transaction

META = """
create schema if not exists meta;
create table if not exists meta.batches (
    source varchar not null,
    table_name varchar not null,
    as_of date not null,
    batch varchar not null,
    mode varchar not null,
    read_rows bigint not null,
    loaded_rows bigint not null,
    duplicate_rows bigint not null,
    quarantined_rows bigint not null,
    loaded_by varchar not null,
    is_audited boolean not null,
    primary key (source, table_name, batch)
);
create table if not exists meta.tables (
    source varchar not null,
    table_name varchar not null,
    contract varchar not null,
    primary key (source, table_name)
);
create table if not exists meta.quarantine (
    source varchar not null,
    table_name varchar not null,
    batch varchar not null,
    as_of date not null,
    position bigint not null,
    rule varchar not null,
    column_name varchar,
    reason varchar not null,
    row_json varchar not null,
    file varchar
);
alter table meta.quarantine add column if not exists file varchar;
alter table meta.tables add column if not exists generation varchar;
"""


LAST_FIRST = "_version_at desc, _as_of desc, _row_hash desc"
"""The order in which the first version of a key is its state; staging reads by the same."""


def set_damaged_aside(settings: Settings) -> str | None:
    """Move a raw file away that is not whole; all of it can be loaded from landing again.

    Returns:
        What was done, for the summary of the run; None where nothing was wrong.
    """
    path = settings.raw_path
    if not path.exists():
        return None
    try:
        with connect(settings, path):
            return None
    except DamagedFileError:
        aside = path.with_name("raw.damaged.duckdb")
        path.rename(aside)
        path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
        return f"{path.name} was damaged: set aside as {aside.name}, loaded from landing again"


def load(
    settings: Settings, config: Config, as_of: dt.date, run_id: str
) -> dict[str, dict[str, int]]:
    """Load every landed batch that raw does not hold yet, each in a transaction of its own.

    Returns:
        source -> read, loaded, duplicates and quarantined rows of what was delivered for ``as_of``.
    """
    landed: dict[tuple[str, str], list[Batch]] = defaultdict(list)
    for batch in landing.batches(settings):
        source = config.sources.sources.get(batch.source)
        if source and batch.table in source.tables:
            landed[batch.source, batch.table].append(batch)
    totals = {}
    with connect(settings, settings.raw_path) as connection:
        connection.execute(META)
        with transaction(connection):
            collection_quality.prepare(connection, config)
            # A run that was killed before its gate leaves rows that nobody has judged.
            _take_back(connection)
        for source_name, source in config.sources.sources.items():
            delivered = []
            for table_name, table in source.tables.items():
                batches = landed[source_name, table_name]
                loader = _Loader(
                    connection, settings, config, source_name, table_name, table, run_id
                )
                loader.load(batches)
                collection_quality.measure_timeliness(
                    connection, config.sources, source_name, table_name, table
                )
                delivered += [batch for batch in batches if batch.day <= as_of][-1:]
            totals[source_name] = _totals(connection, delivered)
        connection.execute("checkpoint")
    return totals


def _totals(connection: duckdb.DuckDBPyConnection, delivered: list[Batch]) -> dict[str, int]:
    names = ("read", "loaded", "duplicates", "quarantined")
    found = dict.fromkeys(names, 0)
    for batch in delivered:
        rows = connection.execute(
            "select read_rows, loaded_rows, duplicate_rows, quarantined_rows from meta.batches "
            "where source = ? and table_name = ? and batch = ?",
            [batch.source, batch.table, _id(batch)],
        ).fetchall()
        for name, count in zip(names, rows[0], strict=True):
            found[name] += int(count)
    return found


def approve(settings: Settings) -> None:
    """Keep what was loaded: its gate has passed."""
    with connect(settings, settings.raw_path) as connection:
        kept = connection.execute(
            "update meta.batches set is_audited = true where not is_audited "
            "returning source, table_name, batch"
        ).fetchall()
    for batch in kept:
        _refused_mark(settings, *batch).unlink(missing_ok=True)


def refuse(settings: Settings) -> int:
    """Take back every batch that has not passed the gate, so that no later run inherits it.

    The batches stay in landing, marked as refused: each is judged again, unless the source has
    delivered its day anew. What they had in quarantine can be seen until then.

    Returns:
        How many batches were taken back.
    """
    with connect(settings, settings.raw_path) as connection, transaction(connection):
        taken = _take_back(connection)
    for batch in taken:
        _refused_mark(settings, *batch).touch()
    return len(taken)


def _take_back(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    """Remove the rows of batches that no gate has passed."""
    taken = connection.execute(
        "delete from meta.batches where not is_audited returning source, table_name, batch"
    ).fetchall()
    for source, table, batch in taken:
        connection.execute(f"delete from {quote(source)}.{quote(table)} where _batch = ?", [batch])
        collection_quality.forget_batch(connection, source, table, batch)
    return taken


def _refused_mark(settings: Settings, source: str, table: str, batch: str) -> Path:
    return settings.landing_dir / source / table / batch / landing.REFUSED


def contract_hash(table: Table, time_zone: str) -> str:
    """Changes when a row could be typed or judged in another way."""
    text = json.dumps(
        [table.model_dump(mode="json", exclude={"description", "freshness", "total"}), time_zone]
    )
    return hashlib.sha256(text.encode()).hexdigest()


class _Loader:
    """Loads batches of one table."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        settings: Settings,
        config: Config,
        source: str,
        name: str,
        table: Table,
        run_id: str,
    ) -> None:
        self.connection = connection
        self.settings = settings
        self.company = config.sources
        self.source = source
        self.name = name
        self.table = table
        self.run_id = run_id
        self.relation = f"{quote(source)}.{quote(name)}"
        self.columns = [quote(column) for column in table.columns]
        self.contract = contract_hash(table, config.sources.time_zone)
        self.rules = rules(table)

    def load(self, landed: list[Batch]) -> None:
        """Load what is missing; rebuild the table where loading in order is not possible."""
        superseded = {(batch.as_of, batch.supersedes) for batch in landed}
        landed = [batch for batch in landed if (batch.as_of, batch.batch) not in superseded]
        last = {batch.as_of: batch for batch in landed}
        landed = [
            batch
            for batch in landed
            if batch is last[batch.as_of]
            or not _refused_mark(self.settings, self.source, self.name, _id(batch)).exists()
        ]
        if not self.table.cursor:
            # The last batch of a day is that day's state; hours bring files of their own.
            landed = [
                batch for batch in landed if batch is last[batch.as_of] or batch.lane == "hourly"
            ]
        known = self._known()
        if known is None:
            self._rebuild(landed)
            return
        pending = [batch for batch in landed if _id(batch) not in known]
        is_replaced = not known <= {_id(batch) for batch in landed}
        is_behind = bool(pending) and _id(pending[0]) < max(known, default="")
        if is_replaced or is_behind:
            self._rebuild(landed)
            return
        for batch in pending:
            with transaction(self.connection):
                self._load_batch(batch)
        self.connection.execute(
            "delete from meta.quarantine where source = ? and table_name = ? and batch not in "
            "(select batch from meta.batches where source = ? and table_name = ?)",
            [self.source, self.name] * 2,
        )

    def _known(self) -> set[str] | None:
        """Batches that raw holds, or None where the table is not there under this contract."""
        held = self.connection.execute(
            "select contract from meta.tables where source = ? and table_name = ?",
            [self.source, self.name],
        ).fetchall()
        if held != [(self.contract,)]:
            return None
        rows = self.connection.execute(
            "select batch from meta.batches where source = ? and table_name = ?",
            [self.source, self.name],
        ).fetchall()
        return {batch for (batch,) in rows}

    def _rebuild(self, landed: list[Batch]) -> None:
        """Make the table again from landing, in one transaction."""
        definitions = ", ".join(
            f"{quote(name)} {sql_type(column)}" for name, column in self.table.columns.items()
        )
        with transaction(self.connection):
            self.connection.execute(f"create schema if not exists {quote(self.source)}")
            self.connection.execute(
                f"create or replace table {self.relation} ({definitions}, _version_at timestamp, "
                "_as_of date, _is_deleted boolean, _row_hash uhugeint, _batch varchar)"
            )
            for meta in ("batches", "quarantine", "tables"):
                self.connection.execute(
                    f"delete from meta.{meta} where source = ? and table_name = ?",
                    [self.source, self.name],
                )
            collection_quality.forget_table(self.connection, self.source, self.name)
            self.connection.execute(
                # Builds that keep what they made see by the generation that rows may differ.
                "insert into meta.tables by name select ? as source, ? as table_name, "
                "? as contract, ? as generation",
                [self.source, self.name, self.contract, uuid.uuid4().hex],
            )
            for batch in landed:
                self._load_batch(batch)

    def _load_batch(self, batch: Batch) -> None:
        files = landing.verify(self.settings, batch)
        landed_rows = landing.with_file(self.connection, files["rows.parquet"])
        missing = [column for column in self.table.columns if column not in batch.columns]
        if missing:
            raise Customer360Error(
                f"{self.source}.{self.name}: the batch of {batch.as_of} was landed before column "
                f"{', '.join(missing)} was declared. Ingest that day again."
            )
        all_ok = " and ".join(rule.ok for rule in self.rules) or "true"
        try:
            self.connection.execute(
                "create or replace temp table typed as select *, "
                f"({all_ok}) as _is_ok, md5_number({self._row_text()}) as _row_hash "
                f"from ({typed_select(self.table, self.company, landed_rows, batch.columns)})"
            )
        except duckdb.Error as error:
            if is_disk_full(error):
                raise
            raise Customer360Error(
                f"{self.source}.{self.name} {batch.as_of}: cannot be typed: {first_line(error)}"
            ) from None
        quarantined = self._quarantine(batch, landed_rows, files)
        collection_quality.count_values(
            self.connection, (self.source, self.name, _id(batch)), self.table, self.rules
        )
        accepted = self._count("select count(*) from typed where _is_ok")
        if self.table.cursor:
            loaded = self._insert_versions(batch)
        elif self._is_taken_once:
            loaded = self._insert_taken(batch)
        else:
            loaded = self._insert_state(batch)
        if "keys.parquet" in files:
            self._mark_deleted(batch, files["keys.parquet"])
        self.connection.execute("drop table typed")
        read = batch.rows + batch.rejects
        if read != accepted + quarantined:
            raise Customer360Error(
                f"{self.source}.{self.name} {batch.as_of}: control total: read {read}, "
                f"accepted {accepted}, quarantined {quarantined}. This is a fault of customer360."
            )
        self.connection.execute(
            "insert into meta.batches values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, false)",
            [
                self.source, self.name, batch.as_of, _id(batch), batch.mode,
                read, accepted, accepted - loaded, quarantined, self.run_id,
            ],
        )  # fmt: skip

    def _row_text(self) -> str:
        cells = ", ".join(f"coalesce({column}::varchar, chr(30))" for column in self.columns)
        return f"concat_ws(chr(31), {cells})"

    def _count(self, sql: str) -> int:
        return int(self.connection.execute(sql).fetchall()[0][0])

    def _quarantine(self, batch: Batch, landed_rows: str, files: dict[str, Any]) -> int:
        """Set rows aside that break a rule, with the first rule and all reasons in words."""
        if not self.table.cursor and not self._is_taken_once:
            self._refuse_ambiguous_keys()
        self.connection.execute(
            "delete from meta.quarantine where source = ? and table_name = ? and batch = ?",
            [self.source, self.name, _id(batch)],
        )
        where = [literal(value) for value in (self.source, self.name, _id(batch), batch.as_of)]
        prefix = f"{', '.join(where)}::date"
        refused = self._count("select count(*) from typed where not _is_ok")
        if refused:
            names = "[" + ", ".join(self._when(rule, rule.name) for rule in self.rules) + "]"
            columns = "[" + ", ".join(self._when(rule, rule.column) for rule in self.rules) + "]"
            reasons = "[" + ", ".join(self._when(rule, rule.message) for rule in self.rules) + "]"
            keep = "item -> item is not null"
            self.connection.execute(
                f"""
                insert into meta.quarantine
                select {prefix}, _position,
                    coalesce(list_filter({names}, {keep})[1], 'unique'),
                    list_filter({columns}, {keep})[1],
                    coalesce(
                        nullif(array_to_string(list_filter({reasons}, {keep}), '; '), ''),
                        {literal(f"{', '.join(self.table.key)} stands twice with other values")}
                    ),
                    _row_json,
                    typed._file
                from typed
                inner join (
                    select landed._position as _landed_position, landed._file as _landed_file,
                        to_json(landed)::varchar as _row_json
                    from {landed_rows} as landed
                ) as landed
                    on _position = _landed_position
                    and typed._file is not distinct from _landed_file
                where not _is_ok
                """
            )
        if "rejects.parquet" in files:
            refusals = landing.with_file(self.connection, files["rejects.parquet"])
            self.connection.execute(
                f"insert into meta.quarantine select {prefix}, _position, 'format', null, _reason, "
                f"to_json({{line: _line}})::varchar, _file from {refusals}"
            )
        return refused + batch.rejects

    def _when(self, rule: Rule, text: str) -> str:
        return f"case when not {rule.ok} then {literal(text)} end"

    def _refuse_ambiguous_keys(self) -> None:
        """In a full table a key that stands twice with other values has no state: refuse both."""
        key = ", ".join(quote(column) for column in self.table.key)
        self.connection.execute(
            f"update typed set _is_ok = false from (select {key} from typed where _is_ok "
            f"group by {key} having count(distinct _row_hash) > 1) as doubled "
            f"where typed._is_ok and {self._same_key('doubled', 'typed')}"
        )

    def _same_key(self, left: str, right: str) -> str:
        return " and ".join(
            f"{left}.{quote(column)} = {right}.{quote(column)}" for column in self.table.key
        )

    def _insert_versions(self, batch: Batch) -> int:
        """Add what the batch says of its keys that raw does not say already; how many rows.

        A row not older than its key's last version is that key's state from now on, also where
        only a value changed and the cursor did not, or where the key had been deleted; an older
        row that is not known yet joins the history.
        """
        assert self.table.cursor
        cursor = self._cursor_in_utc()
        key = ", ".join(map(quote, self.table.key))
        before = self._count(f"select count(*) from {self.relation}")
        # What is known of the batch's keys, and no more: a day costs what has changed.
        self.connection.execute(
            f"create or replace temp table held as select {key}, _version_at, _row_hash, "
            f"_is_deleted, {cursor} as _held_at, row_number() over (partition by {key} "
            f"order by {LAST_FIRST}) = 1 as _is_last from {self.relation} as held "
            f"where exists (select 1 from typed where {self._same_key('held', 'typed')})"
        )
        known = (
            f"exists (select 1 from held where {self._same_key('held', 'arrived')} "
            "and held._row_hash = arrived._row_hash)"
        )
        self.connection.execute(
            f"""
            insert into {self.relation}
            select {", ".join(f"arrived.{column}" for column in self.columns)},
                case
                    when state._is_deleted
                    then greatest(_at, state._version_at + interval 1 microsecond)
                    when _at >= state._held_at then greatest(_at, state._version_at)
                    else _at
                end,
                date '{batch.as_of}', false, arrived._row_hash, {literal(_id(batch))}
            from (
                select *, {cursor} as _at,
                    count(*) over (partition by {key}, {cursor}) = 1 as _is_alone
                from (
                    select * from typed where _is_ok
                    qualify row_number() over (partition by {key}, _row_hash order by _position) = 1
                )
            ) as arrived
            left join (from held where _is_last) as state
                on {self._same_key("state", "arrived")}
            where case
                when state._row_hash is null or state._is_deleted then true
                when _at >= state._held_at and _is_alone
                then arrived._row_hash <> state._row_hash
                else not {known}
            end
            order by _file, _position
            """
        )
        self.connection.execute("drop table held")
        return self._count(f"select count(*) from {self.relation}") - before

    def _mark_deleted(self, batch: Batch, keys: Path) -> None:
        """End every key that a sweep did not find."""
        found = (
            f"(select null::varchar as _file, 0 as _position, * from read_parquet({literal(keys)}))"
        )
        only_keys = {name: self.table.columns[name] for name in self.table.key}
        swept = typed_select(
            self.table.model_copy(update={"columns": only_keys}),
            self.company,
            found,
            _types(self.connection, keys),
        )
        key = ", ".join(map(quote, self.table.key))
        end = f"timestamp {literal(batch.cursor_to)} - interval 1 microsecond"
        # Those that were not found are few: only of them the last version is looked for.
        self.connection.execute(
            f"insert into {self.relation} select {', '.join(self.columns)}, "
            f"greatest({end}, _version_at + interval 1 microsecond), date '{batch.as_of}', true, "
            f"_row_hash, {literal(_id(batch))} from (select * from {self.relation} as held "
            f"where not exists (select 1 from ({swept}) as swept "
            f"where {self._same_key('held', 'swept')}) qualify "
            f"row_number() over (partition by {key} order by {LAST_FIRST}) = 1) "
            "where not _is_deleted"
        )

    def _cursor_in_utc(self) -> str:
        assert self.table.cursor
        name = self.table.cursor.column
        if self.table.columns[name].type == "timestamp":
            return quote(name)
        zone = literal(self.company.time_zone)
        return f"timezone('UTC', timezone({zone}, {quote(name)}::timestamp))"

    @property
    def _is_taken_once(self) -> bool:
        """Whether a batch is what new files hold: it adds and changes rows, and deletes none."""
        return self.table.each_file == "once"

    def _insert_taken(self, batch: Batch) -> int:
        """Add rows of files that have no cursor; how many. They hold as of the end of their day,
        and a key that comes several times had each value in turn."""
        key = ", ".join(quote(column) for column in self.table.key)
        backwards = "order by _file desc, _position desc"
        end = f"timestamp {literal(batch.cursor_to)} - interval 1 microsecond"
        before = self._count(f"select count(*) from {self.relation}")
        arrived = self._same_key("held", "typed")
        self._hold_last(f"where exists (select 1 from typed where {arrived})")
        self.connection.execute(
            f"""
            insert into {self.relation}
            select {", ".join(self.columns)}, {end} - (_turn - 1) * interval 1 microsecond,
                date '{batch.as_of}', false, _row_hash, {literal(_id(batch))}
            from (
                select *, row_number() over (partition by {key} {backwards}) as _turn,
                    count(*) over (partition by {key}) as _turns
                from (
                    select * from typed where _is_ok
                    qualify row_number() over (partition by {key}, _row_hash {backwards}) = 1
                )
            ) as typed
            where _turns > 1 or not exists (
                select 1 from held
                where {self._same_key("held", "typed")} and held._row_hash = typed._row_hash
            )
            order by _file, _position
            """
        )
        self.connection.execute("drop table held")
        return self._count(f"select count(*) from {self.relation}") - before

    def _hold_last(self, where: str = "") -> None:
        """Make ``held``: of each key its last version's hash, and whether it is a deletion."""
        key = ", ".join(quote(column) for column in self.table.key)
        self.connection.execute(
            f"create or replace temp table held as select {key}, _row_hash, _is_deleted "
            f"from {self.relation} as held {where} qualify "
            f"row_number() over (partition by {key} order by {LAST_FIRST}) = 1"
        )

    def _insert_state(self, batch: Batch) -> int:
        """Add what changed against the last state: new and changed rows, and deletions; how many
        rows of the batch are new."""
        key = ", ".join(quote(column) for column in self.table.key)
        end = f"timestamp {literal(batch.cursor_to)} - interval 1 microsecond"
        tail = f"{end}, date '{batch.as_of}'"
        columns = ", ".join(self.columns)
        same = self._same_key("held", "typed")
        self._hold_last()
        before = self._count(f"select count(*) from {self.relation}")
        self.connection.execute(
            f"insert into {self.relation} "
            f"select {columns}, {tail}, false, _row_hash, {literal(_id(batch))} from typed "
            f"where _is_ok and not exists (select 1 from held where {same} "
            "and held._row_hash = typed._row_hash and not held._is_deleted) "
            f"qualify row_number() over (partition by {key} order by _position) = 1 "
            "order by _position"
        )
        added = self._count(f"select count(*) from {self.relation}") - before
        self.connection.execute(
            f"insert into {self.relation} "
            f"select {columns}, {tail}, true, _row_hash, {literal(_id(batch))} "
            # A row that was refused is there all the same: its last good state stands.
            f"from (select * from {self.relation} as held "
            f"where not exists (select 1 from typed where {same}) qualify "
            f"row_number() over (partition by {key} order by {LAST_FIRST}) = 1) "
            "where not _is_deleted"
        )
        self.connection.execute("drop table held")
        return added


def _types(connection: duckdb.DuckDBPyConnection, file: Path) -> dict[str, str]:
    """name -> DuckDB type of a Parquet file's columns."""
    described = connection.execute(f"describe from read_parquet({literal(file)})").fetchall()
    return {name: kind for name, kind, *_ in described}


def _id(batch: Batch) -> str:
    """A batch's name within its table."""
    return f"{batch.as_of}/{batch.batch}"
