"""Looking at a system that nobody has declared yet: tables, columns, keys, what is personal.

What belongs here: guesses, each said as one. What does not: writing the declaration
(``customer360.scaffold``), or reading for the pipeline (the connectors, which are used here too).
"""

import contextlib
import datetime as dt
import itertools
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from customer360.config import (
    DATABASE_FORMATS,
    FILE_FORMATS,
    CompanySources,
    PersonalClass,
    Request,
    Source,
    Table,
)
from customer360.connections import resolve
from customer360.exceptions import SourceError
from customer360.personal import guess_class
from customer360.settings import Settings
from customer360.sources import open_session
from customer360.sources.relation import Reading
from customer360.sources.web_service import Answer, WebService
from customer360.warehouse import connect, first_line, literal, quote

SAMPLE_ROWS = 2_000
HEAD_BYTES = 1_000_000
ENDINGS = {
    "csv": (".csv", ".txt", ".tsv"),
    "json_lines": (".jsonl", ".ndjson", ".json", ".gz"),
    "parquet": (".parquet",),
    "excel": (".xlsx",),
}
DAY_IN_NAME = (
    (re.compile(r"(?<!\d)20\d\d-[01]\d-[0-3]\d(?!\d)"), "%Y-%m-%d"),
    (re.compile(r"(?<!\d)20\d\d[01]\d[0-3]\d(?!\d)"), "%Y%m%d"),
)
CHANGED_AT = re.compile(
    r"(updated|modified|changed|last_?(update|change|modified))_?(at|on|time|date)?|update_?time"
    r"|修改时间|更新时间",
    re.IGNORECASE,
)
KEY_NAME = re.compile(r"(^|_)(id|no|nr|code|key|number|sn|uuid)$|编号|单号|号码$", re.IGNORECASE)
LISTS = ("data", "items", "results", "records", "rows", "list", "content", "entries")
NEXT_CURSORS = ("next_cursor", "nextCursor", "next_page_token", "nextPageToken", "cursor")


@dataclass
class FoundColumn:
    """A column as it seems to be."""

    name: str
    type: str
    personal: PersonalClass
    is_required: bool = False
    description: str = ""


@dataclass
class FoundTable:
    """A table as it seems to be.

    Attributes:
        where: keys of its declaration that say where it is (``file``, ``relation``, ``request``).
        is_key_known: whether the system itself says what the key is.
        cursor: column that says when a row was changed.
        remarks: what a person should look at, without values.
    """

    name: str
    where: dict[str, Any]
    columns: list[FoundColumn] = field(default_factory=list)
    key: list[str] = field(default_factory=list)
    is_key_known: bool = False
    cursor: str | None = None
    remarks: list[str] = field(default_factory=list)


def inspect(
    settings: Settings,
    company: CompanySources,
    name: str,
    system: dict[str, Any],
    wanted: Sequence[str],
) -> list[FoundTable]:
    """The tables of a system.

    Args:
        settings: of the company.
        company: its calendar.
        name: what the source will be called.
        system: title, owner, stage, format, path or connection, as they will be declared.
        wanted: tables to look at; files of these names, ``schema.table`` in databases, paths below
            the address of a web service. All of them where it is empty.

    Raises:
        SourceError: the system cannot be read, or has no such table.
    """
    form = system["format"]
    if form in FILE_FORMATS:
        tables = _files(settings, name, system, wanted)
    elif form in DATABASE_FORMATS:
        tables = _catalogue(settings, name, system, wanted)
    else:
        tables = _resources(settings, system, wanted)
    if form in DATABASE_FORMATS:
        return tables
    for table in tables:
        _sample(settings, company, name, system, table)
    return tables


# --- what there is ----------------------------------------------------------------------------


def _files(
    settings: Settings, name: str, system: dict[str, Any], wanted: Sequence[str]
) -> list[FoundTable]:
    """A table for each file; files that differ only by a day in their name are one table."""
    from customer360.sources import storage

    opened = storage.open_folder(settings, system["path"], system.get("connection"))
    if not isinstance(opened, storage.LocalFolder):
        raise SourceError(
            f"{name}: an object storage cannot be looked through: declare its tables by hand"
        )
    folder = opened.folder
    if not folder.is_dir():
        raise SourceError(f"{name}: there is no folder {folder}")
    found: dict[str, FoundTable] = {}
    for file in sorted(folder.iterdir()):
        endings = file.name.partition(".")[2]
        if not file.is_file() or not any(
            f".{endings}".endswith(end) for end in ENDINGS[system["format"]]
        ):
            continue
        if file.name.startswith((".", "~$")):
            continue
        stem, where = file.name.partition(".")[0], {"file": file.name}
        for pattern, form in DAY_IN_NAME:
            if pattern.search(stem):
                stem = pattern.sub("", stem)
                where = {
                    "file": pattern.sub("*", file.name),
                    "each_file": "once",
                    "day_in_name": form,
                }
                break
        table = identifier(stem)
        if wanted and not {table, file.name, stem}.intersection(wanted):
            continue
        if table in found and found[table].where["file"] != where["file"]:
            table = _free(table, list(found))
        if table not in found:
            found[table] = FoundTable(table, where)
            if system["format"] == "csv":
                _look_at_text(found[table], file)
            if "each_file" in where:
                found[table].remarks.append(
                    "each file is taken once, as new rows; where every file holds the whole table, "
                    "declare the newest one by its name and each_file: state"
                )
    if not found:
        raise SourceError(
            f"{name}: {folder} holds no {system['format']} file"
            + (f" called {', '.join(wanted)}" if wanted else "")
        )
    return list(found.values())


def _look_at_text(table: FoundTable, file: Path) -> None:
    """Encoding and delimiter of a CSV file, by its beginning."""
    with file.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    if len(head) == HEAD_BYTES:
        head = head[: head.rfind(b"\n") + 1] or head
    for encoding in ("utf-8", "gb18030"):
        try:
            text = head.decode(encoding)
        except UnicodeDecodeError:
            continue
        break
    else:
        raise SourceError(f"{file.name} is neither UTF-8 nor GB18030")
    if encoding != "utf-8":
        table.where["encoding"] = encoding
        table.remarks.append(f"{file.name} is not UTF-8; read as {encoding}: look at its texts")
    lines = [line for line in text.lstrip("\ufeff").splitlines()[:50] if line]
    delimiter = max(",;\t|", key=lambda mark: min((line.count(mark) for line in lines), default=0))
    if delimiter != ",":
        table.where["delimiter"] = delimiter


CATALOGUE = {
    "postgres": """
        select n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
            coalesce(array_position(i.indkey::smallint[], a.attnum), -1) as key_position,
            a.attnotnull, coalesce(col_description(c.oid, a.attnum), '') as remark
        from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        left join pg_index as i on i.indrelid = c.oid and i.indisprimary
        where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
            and n.nspname <> 'information_schema' and left(n.nspname, 3) <> 'pg_'
            and has_table_privilege(c.oid, 'select')
        order by n.nspname, c.relname, a.attnum
    """,
    "mysql": """
        select c.table_schema, c.table_name, c.column_name, c.column_type,
            coalesce(k.ordinal_position, -1) as key_position, c.is_nullable = 'NO' as is_filled,
            c.column_comment
        from information_schema.columns as c
        left join information_schema.key_column_usage as k
            on k.constraint_name = 'PRIMARY' and k.table_schema = c.table_schema
            and k.table_name = c.table_name and k.column_name = c.column_name
        where c.table_schema = database()
        order by c.table_name, c.ordinal_position
    """,
}
TYPES = (
    (r"(bigint|int8|bigserial)", "bigint"),
    (r"int(eger)?(\(\d+\))? unsigned", "bigint"),
    (r"tinyint\(1\)", "boolean"),
    (r"(small|medium|tiny)?int.*|integer|int[24]", "integer"),
    (r"real|float.*|double.*|numeric|decimal", "double"),
    (r"bool.*", "boolean"),
    (r"date", "date"),
    (r"(timestamp|datetime).*", "timestamp"),
    (r"jsonb?", "json"),
)


def _catalogue(
    settings: Settings, name: str, system: dict[str, Any], wanted: Sequence[str]
) -> list[FoundTable]:
    """Tables of a database with columns and primary keys, as its catalogue has them."""
    source = Source.model_construct(**system, tables={})
    with contextlib.closing(open_session(settings, name, source)) as session:
        assert session.connection
        try:
            return _listed(session.connection, system["format"], wanted)
        except duckdb.Error as error:
            raise SourceError(
                f"{name}: the database's catalogue cannot be read: {first_line(error)}"
            ) from None


def _listed(
    connection: duckdb.DuckDBPyConnection, form: str, wanted: Sequence[str]
) -> list[FoundTable]:
    """Tables of the database that a session has attached as ``source``."""
    found: dict[tuple[str, str], FoundTable] = {}
    keys: dict[tuple[str, str], list[tuple[int, str]]] = {}
    rows = connection.execute(f"from {form}_query('source', {literal(CATALOGUE[form])})").fetchall()
    for schema, relation, column, kind, position, is_filled, comment in rows:
        place = f"{schema}.{relation}"
        if wanted and not {relation, place}.intersection(wanted):
            continue
        if (schema, relation) not in found:
            name = _free(identifier(relation), [table.name for table in found.values()])
            is_plain = name == relation and _is_usual(schema, form)
            named = place if form == "postgres" else relation
            found[schema, relation] = FoundTable(name, {} if is_plain else {"relation": named})
        table = found[schema, relation]
        table.columns.append(
            FoundColumn(column, _declared_type(kind), "none", False, _one_line(comment))
        )
        if int(position) >= 0:
            keys.setdefault((schema, relation), []).append((int(position), column))
        is_moment = table.columns[-1].type in ("timestamp", "date")
        if CHANGED_AT.fullmatch(column) and is_moment and is_filled and table.cursor is None:
            table.cursor = column
    for (schema, relation), table in found.items():
        table.key = [column for _, column in sorted(keys.get((schema, relation), []))]
        table.is_key_known = bool(table.key)
        place = ".".join(quote(part) for part in ("source", schema, relation))
        _classify(table, connection, f"select * from {place} limit {SAMPLE_ROWS}")
        if table.cursor:
            table.where["deletes"] = {"every_days": 7}
            table.remarks.append(
                f"read by {table.cursor}, and every key once in 7 days to find deleted rows"
            )
        else:
            table.remarks.append("no column says when a row changed: it is read whole each day")
    if not found:
        raise SourceError(
            "the connection's user may read no table"
            + (f" called {', '.join(wanted)}" if wanted else "")
        )
    return list(found.values())


def _is_usual(schema: str, form: str) -> bool:
    return form == "mysql" or schema == "public"


def _declared_type(kind: str) -> str:
    """The contract's type for a type of PostgreSQL or MySQL."""
    kind = kind.lower()
    exact = re.fullmatch(r"(?:numeric|decimal)\((\d+),(\d+)\).*", kind)
    if exact:
        return f"decimal({exact[1]},{exact[2]})" if int(exact[1]) <= 38 else "double"
    return next((found for pattern, found in TYPES if re.fullmatch(pattern, kind)), "text")


def _resources(
    settings: Settings, system: dict[str, Any], wanted: Sequence[str]
) -> list[FoundTable]:
    """Resources of a web service: where the records stand and how the pages follow, by one page."""
    if not wanted:
        raise SourceError("a web service does not list its resources: name each with --table PATH")
    service = WebService(resolve(settings, system["connection"]))
    found = []
    try:
        for path in wanted:
            answer = service.ask(path, service.url(path, {}))
            records = _place_of_records(path, answer.document)
            table = FoundTable(identifier(path.rstrip("/").rpartition("/")[2]), {})
            pagination = _pagination(table, answer)
            table.where["request"] = {"path": path}
            if records:
                table.where["request"]["records"] = records
            if pagination:
                table.where["request"]["pagination"] = pagination
            table.remarks.append(
                "if the service can filter by time of change, add since_parameter to its request"
            )
            found.append(table)
    finally:
        service.close()
    return found


def _place_of_records(path: str, document: Any) -> str:
    if isinstance(document, list):
        return ""
    if isinstance(document, dict):
        lists = [key for key, value in document.items() if isinstance(value, list)]
        named = [key for key in LISTS if key in lists] or lists
        if named:
            return str(named[0])
        for key, value in document.items():
            if isinstance(value, dict) and any(isinstance(inner, list) for inner in value.values()):
                return f"{key}.{_place_of_records(path, value)}"
    raise SourceError(f"{path}: the answer holds no list of records")


def _pagination(table: FoundTable, answer: Answer) -> dict[str, Any]:
    document = answer.document if isinstance(answer.document, dict) else {}
    places = dict(document)
    for outer, value in document.items():
        if isinstance(value, dict):
            places |= {f"{outer}.{inner}": cell for inner, cell in value.items()}
    cursor = next((place for place in places if place.rpartition(".")[2] in NEXT_CURSORS), None)
    total = next((place for place in places if place.rpartition(".")[2] == "total"), None)
    if answer.link:
        table.remarks.append("its pages follow by the Link header")
        return {"kind": "link"}
    if cursor:
        table.remarks.append(
            f"its pages seem to follow by `{cursor}`; see in the service's documentation that the "
            "query parameter is called cursor"
        )
        return {"kind": "cursor", "parameter": "cursor", "next": cursor}
    if total or any(place.rpartition(".")[2] in ("page", "total_pages") for place in places):
        table.remarks.append(
            "its pages seem to be numbered; see in the service's documentation that the query "
            "parameter is called page"
        )
        return {"kind": "page", "parameter": "page"} | ({"total": total} if total else {})
    table.remarks.append(
        "the answer says nothing of further pages: if there are any, declare request.pagination"
    )
    return {}


# --- what the rows look like ------------------------------------------------------------------


def _sample(
    settings: Settings,
    company: CompanySources,
    name: str,
    system: dict[str, Any],
    table: FoundTable,
) -> None:
    """Columns, types and key of a file or resource, by its first rows as the connector has them."""
    where = dict(table.where)
    if "request" in where:
        where["request"] = Request.model_validate(where["request"] | {"pagination": {}})
    where["each_file"] = "state"
    # The contract is what is looked for, so there is none to check against yet.
    open_table = Table.model_construct(key=(), columns={}, **where)
    source = Source.model_construct(tables={table.name: open_table}, **system)
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(open_session(settings, name, source)) as session,
        connect(settings) as ours,
    ):
        connection = session.connection or ours
        today = dt.datetime.now(company.zone).date()
        reading = Reading(
            settings=settings,
            company=company,
            source_name=name,
            source=source,
            table_name=table.name,
            table=open_table,
            as_of=today,
            start=None,
            end=company.day_end(today),
            taken=(),
            is_sweep=False,
            workspace=Path(folder) / "reading",
            is_sample=True,
        )
        relation = session.relation(connection, reading)
        table.columns = [
            FoundColumn(column, _declared_of(kind), "none")
            for column, kind in relation.columns.items()
        ]
        names = ", ".join(quote(column) for column in relation.columns)
        _classify(table, connection, f"select {names} from ({relation.sql}) limit {SAMPLE_ROWS}")


def _declared_of(kind: str) -> str:
    """The contract's type for a type of DuckDB; text stays to be guessed."""
    base = kind.split("(")[0]
    if base == "DECIMAL":
        return kind.lower()
    return {
        "BIGINT": "bigint", "HUGEINT": "bigint", "UBIGINT": "bigint", "UINTEGER": "bigint",
        "INTEGER": "integer", "SMALLINT": "integer", "TINYINT": "integer",
        "UTINYINT": "integer", "USMALLINT": "integer", "FLOAT": "double", "DOUBLE": "double",
        "BOOLEAN": "boolean", "DATE": "date", "JSON": "json",
    }.get(base, "timestamp" if base.startswith("TIMESTAMP") else "text")  # fmt: skip


def _classify(table: FoundTable, connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Complete ``table`` from the rows of ``query``."""
    cursor = connection.execute(query)
    rows = cursor.fetchall()
    if not rows:
        table.remarks.append(
            "it holds no row: types, key and personal classes are guessed by names"
        )
    cells: dict[str, list[str | None]] = {}
    for index, column in enumerate(table.columns):
        values = [None if row[index] in (None, "") else str(row[index]) for row in rows]
        cells[column.name] = values
        column.personal = guess_class(column.name, values)
        if column.type == "text" and column.personal not in ("contact", "sensitive"):
            column.type = guess_type([value for value in values if value is not None])
        if column.name.startswith("_"):
            table.remarks.append(f"column {column.name} is left out: our own begin so")
    table.columns = [column for column in table.columns if not column.name.startswith("_")]
    if not table.key:
        table.key = _guess_key(table, cells)
    if "request" in table.where:
        table.cursor = next(
            (
                column.name
                for column in table.columns
                if CHANGED_AT.fullmatch(column.name)
                and column.type in ("timestamp", "date")
                and None not in cells[column.name]
            ),
            None,
        )
    for column in table.columns:
        column.is_required = column.name in table.key or column.name == table.cursor
        has_zone = any(OFFSET.search(value) for value in cells[column.name][:50] if value)
        if column.type == "timestamp" and table.cursor == column.name and not has_zone:
            table.remarks.append(
                f"{column.name} names no time zone and is taken as the company's; declare "
                "zone: UTC if it is"
            )


OFFSET = re.compile(r"([+-]\d\d(:?\d\d)?|Z)$")
SHAPES = (
    ("bigint", re.compile(r"-?(0|[1-9]\d{0,17})")),
    ("decimal", re.compile(r"-?(0|[1-9]\d{0,11})(\.\d{1,6})?")),
    ("double", re.compile(r"-?\d{1,15}(\.\d+)?([eE][+-]?\d+)?")),
    ("boolean", re.compile(r"true|false", re.IGNORECASE)),
    ("date", re.compile(r"\d{4}[-/](0[1-9]|1[0-2])[-/]([0-2]\d|3[01])")),
    (
        "timestamp",
        re.compile(
            r"\d{4}[-/](0[1-9]|1[0-2])[-/]([0-2]\d|3[01])[ T][0-2]\d:[0-5]\d(:[0-5]\d(\.\d+)?)?"
            r"(Z|[+-]\d\d:?\d\d)?"
        ),
    ),
    ("json", re.compile(r"\{.*\}|\[.*\]", re.DOTALL)),
)


def guess_type(values: Sequence[str]) -> str:
    """The narrowest type that all values have; numbers with leading zeros are text."""
    stripped = [value.strip() for value in values if value.strip()]
    for name, shape in SHAPES:
        if not stripped or not all(shape.fullmatch(value) for value in stripped):
            continue
        if name == "decimal":
            scale = max(len(value.partition(".")[2]) for value in stripped)
            return f"decimal(18,{max(2, scale)})"
        if name == "double" and any(re.match(r"-?0\d", value) for value in stripped):
            return "text"
        return name
    return "text"


def _guess_key(table: FoundTable, cells: dict[str, list[str | None]]) -> list[str]:
    """Columns whose values are all there and all different; the ones named like keys first."""
    names = [column.name for column in table.columns]
    speaking = [name for name in names if KEY_NAME.search(name)]
    ordered = [*speaking, *(name for name in names if name not in speaking)]
    filled = [name for name in ordered if cells[name] and None not in cells[name]]
    for count in (1, 2, 3):
        for chosen in itertools.combinations(filled[:8], count):
            rows = list(zip(*(cells[name] for name in chosen), strict=True))
            if len(set(rows)) == len(rows):
                table.remarks.append(
                    f"the key {', '.join(chosen)} is a guess from {len(rows)} rows: correct it if "
                    "another one tells rows apart"
                )
                return list(chosen)
    table.remarks.append("no column tells its rows apart: declare the right key before anything")
    return speaking[:1] or names[:1]


def identifier(text: str) -> str:
    """A name for a table: lower case letters, digits and underscores."""
    name = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower())
    name = name.strip("_")[:63]
    return name if name[:1].isalpha() else f"table_{name}".rstrip("_")


def _free(name: str, taken: Sequence[str]) -> str:
    """``name``, or with a number behind it where it is taken."""
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    return name if name not in taken else next(each for each in numbered if each not in taken)


def _one_line(text: str) -> str:
    return " ".join(text.split())
