"""The systems that drop files: tills, WeChat, web and app events, after-sales, voice.

What belongs here: which file comes in which night, its name and encoding, late and double files.
What does not: how a row is written as text (``shapes``) and which rows there are (``world``).

History is one file a month (till: a store and month; after-sales: one handover workbook a
partner and list), so that a small company has a bearable number of files; from the day after the
start each night brings files of its own. A file never changes once it is there.
"""

import contextlib
import csv
import hashlib
import itertools
import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from customer360.demo.systems import shapes
from customer360.demo.systems.layout import Layout, remove_tree
from customer360.demo.systems.world import (
    FILES,
    Incident,
    Table,
    World,
    literal,
    months,
    quote,
)
from customer360.warehouse import load_extension

EXCEL_ROWS = 1_048_576
"""Rows of a worksheet, the header among them."""

PARTS = {"till": "store_code", "aftersales": "partner_code"}
"""Column that says whose file a row belongs to."""

ENCODINGS = {"till": "gb18030"}

LOOK_BACK = 31
"""Nights after which no file of a day can still be on its way."""


@dataclass(frozen=True)
class Drop:
    """Rows of some days of a table that arrive together.

    Attributes:
        label: what stands for the days in the file's name.
        first_day, last_day: days of the rows.
        only: the one part (store, partner) that comes, or None for all but ``without``.
        without: parts that come at another time.
        suffix: ``_1`` for a file that comes a second time.
    """

    table: Table
    label: str
    first_day: int
    last_day: int
    only: str | None = None
    without: tuple[str, ...] = ()
    suffix: str = ""

    @property
    def part(self) -> str | None:
        """Column by which the rows are split into files, or None for one file."""
        column = PARTS.get(self.table.system)
        # The list of the parts themselves is one file.
        return column if column and self.table.key != (column,) else None

    def where(self) -> str:
        """Condition on the rows of the drop."""
        condition = f"_from_day between {self.first_day} and {self.last_day}"
        if self.part and self.only is not None:
            condition += f" and {quote(self.part)} = {literal(self.only)}"
        if self.part and self.without:
            condition += f" and {quote(self.part)} not in ({', '.join(map(literal, self.without))})"
        return condition

    def path(self, part: str | None, suffix: str) -> str:
        """Path below the files folder, for one part of the rows."""
        folder = f"{self.table.system}/{part}" if part else self.table.system
        owner = f"_{part}" if part else ""
        return f"{folder}/{self.table.name}{owner}_{self.label}{self.suffix}{suffix}"


def history(world: World, table: Table, day: int) -> Iterator[Drop]:
    """What had been delivered by the start."""
    if table.system == "aftersales":
        yield Drop(table, f"until_{world.date_of(day):%Y%m%d}", 0, day)
        return
    for label, first, last in months(world, 0, day):
        yield Drop(table, label, first, last)


def due(world: World, table: Table, night: int) -> Iterator[Drop]:
    """What arrives in ``night``: the day's own files, late ones, and some a second time."""
    for day in range(max(world.start_day + 1, night - LOOK_BACK), night + 1):
        mishaps = [
            each
            for each in world.incidents
            if each.system == table.system
            and each.day == day
            and each.table in (None, table.name)
            and each.kind in ("late_file", "double_file")
        ]
        label = f"{world.date_of(day):%Y%m%d}"
        singled = sorted({str(each.detail["part"]) for each in mishaps if each.detail.get("part")})
        groups: list[tuple[str | None, tuple[str, ...]]] = [(None, tuple(singled))]
        groups += [(part, ()) for part in singled]
        for only, without in groups:
            mine = [each for each in mishaps if each.detail.get("part") in (None, only)]
            arrival = reachable(world, table.system, day + delay(mine))
            if arrival == night:
                yield Drop(table, label, day, day, only, without)
            doubled = any(each.kind == "double_file" for each in mine)
            if doubled and reachable(world, table.system, arrival + 1) == night:
                yield Drop(table, label, day, day, only, without, suffix="_1")


def delay(mishaps: list[Incident]) -> int:
    """Nights by which a file is late."""
    return max(
        (int(each.detail["days"]) for each in mishaps if each.kind == "late_file"), default=0
    )


def reachable(world: World, system: str, day: int) -> int:
    """The first day from ``day`` on at which the system can deliver."""
    while world.is_down(system, day):
        day += 1
    return day


Delivered = tuple[str, Table, int, int]
"""A file that was written: path, table, night, rows."""


class Deliveries:
    """The list of files delivered, with the rows in each."""

    def __init__(self, layout: Layout) -> None:
        self._connection = sqlite3.connect(layout.deliveries, isolation_level=None)
        self._connection.execute(
            "create table if not exists deliveries "
            "(path text primary key, system text, table_name text, day integer, rows integer)"
        )

    def __enter__(self) -> "Deliveries":
        self._connection.execute("begin")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._connection.execute("rollback" if kind else "commit")
        self._connection.close()

    def add(self, path: str, table: Table, day: int, rows: int) -> None:
        """Record a file; the same one again, after a kill, replaces itself."""
        self._connection.execute(
            "insert or replace into deliveries values (?, ?, ?, ?, ?)",
            (path, table.system, table.name, day, rows),
        )

    def counts(self, system: str) -> dict[str, int]:
        """Rows delivered of each table, those that came twice counted twice."""
        return dict(
            self._connection.execute(
                "select table_name, sum(rows) from deliveries where system = ? "
                "group by 1 order by 1",
                (system,),
            ).fetchall()
        )

    def paths(self, system: str, table: str) -> list[str]:
        """Files of a table, the newest last."""
        return [
            row[0]
            for row in self._connection.execute(
                "select path from deliveries where system = ? and table_name = ? "
                "order by day, path",
                (system, table),
            ).fetchall()
        ]


def deliver_history(layout: Layout, world: World, day: int) -> None:
    """Write the files of all file systems as they lie there at the end of ``day``."""

    def deliver(system: str) -> list[Delivered]:
        (layout.files / system).mkdir(parents=True, exist_ok=True)
        return [
            delivered
            for table in world.tables(system)
            for drop in history(world, table, day)
            for delivered in write(layout, world, drop, day)
        ]

    # Two at a time: workbooks and the tills' many files keep one processor busy each.
    with ThreadPoolExecutor(2) as pool, Deliveries(layout) as deliveries:
        for delivered in itertools.chain.from_iterable(pool.map(deliver, FILES)):
            deliveries.add(*delivered)


def deliver_night(layout: Layout, world: World, night: int) -> None:
    """Write the files that arrive in one night; doing it again writes the same ones again."""
    with Deliveries(layout) as deliveries:
        for system in FILES:
            for table in world.tables(system):
                for drop in due(world, table, night):
                    for delivered in write(layout, world, drop, night):
                        deliveries.add(*delivered)


def write(layout: Layout, world: World, drop: Drop, night: int) -> Iterator[Delivered]:
    """Write a drop's files, each aside first, and tell what is to be recorded of each."""
    aside = layout.root / "aside" / drop.table.system
    aside.mkdir(parents=True, exist_ok=True)
    writer = WRITERS[drop.table.system]
    for path, rows in writer(world, drop, aside):
        target = layout.files / path
        target.parent.mkdir(parents=True, exist_ok=True)
        (aside / "file").replace(target)
        yield path, drop.table, night, rows


def write_json_lines(world: World, drop: Drop, aside: Path) -> Iterator[tuple[str, int]]:
    """One file of JSON objects, a line each, written by DuckDB in stored order."""
    line = shapes.json_line(drop.table, world.columns_on(drop.table, drop.last_day))
    # Text is written as it is: JSON escapes the delimiter, so no field can hold it.
    row = (
        world.cursor()
        .execute(
            f"copy (select {line} from {drop.table.source} where {drop.where()}) "
            f"to {literal(str(aside / 'file'))} "
            "(format csv, header false, quote '', escape '', delimiter '\x01', use_tmp_file false)"
        )
        .fetchone()
    )
    if row and row[0]:
        yield drop.path(None, ".jsonl"), int(row[0])


def text_by_part(world: World, drop: Drop, line: str) -> Iterator[tuple[str | None, list[str]]]:
    """Lines of text of each part, in stored order."""
    part = quote(drop.part) if drop.part else "null"
    cursor = world.cursor().execute(
        f"select {part}, {line} from {drop.table.source} where {drop.where()} order by 1, rowid"
    )
    rows = itertools.chain.from_iterable(iter(lambda: cursor.fetchmany(50_000), []))
    for key, group in itertools.groupby(rows, key=lambda row: row[0]):
        yield key, [row[1] for row in group]


def write_csv(world: World, drop: Drop, aside: Path) -> Iterator[tuple[str, int]]:
    """A CSV file a part, in the tills' own encoding and line ends."""
    columns = world.columns_on(drop.table, drop.last_day)
    header = ",".join(column.name for column in columns)
    for part, lines in text_by_part(world, drop, shapes.csv_line(columns)):
        text = "\r\n".join([header, *lines, ""])
        (aside / "file").write_bytes(text.encode(ENCODINGS[drop.table.system]))
        yield drop.path(part, ".csv"), len(lines)


def write_json(world: World, drop: Drop, aside: Path) -> Iterator[tuple[str, int]]:
    """One JSON document: an array of objects."""
    line = shapes.json_line(drop.table, world.columns_on(drop.table, drop.last_day))
    for part, lines in text_by_part(world, drop, line):
        (aside / "file").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
        yield drop.path(part, ".json"), len(lines)


def write_excel(world: World, drop: Drop, aside: Path) -> Iterator[tuple[str, int]]:
    """A workbook a part, and further ones where a worksheet ends."""
    columns = shapes.column_list(world.columns_on(drop.table, drop.last_day))
    cursor = world.cursor()
    load_extension(cursor, "excel")
    part = quote(drop.part) if drop.part else "null"
    counts = cursor.execute(
        f"select {part}, count(*) from {drop.table.source} where {drop.where()} "
        "group by 1 order by 1"
    ).fetchall()
    for key, count in counts:
        mine = f"{part} is not distinct from {literal(key) if key else 'null'}"
        for number, start in enumerate(range(0, count, EXCEL_ROWS - 1)):
            remove_tree(aside / "file")
            cursor.execute(
                f"copy (select {columns} from {drop.table.source} "
                f"where {drop.where()} and {mine} order by rowid "
                f"limit {EXCEL_ROWS - 1} offset {start}) to {literal(str(aside / 'file'))} "
                f"(format xlsx, header true, sheet {literal(drop.table.name)})"
            )
            ending = f"_part{number + 1}.xlsx" if number else ".xlsx"
            yield drop.path(key, ending), min(EXCEL_ROWS - 1, count - start)


WRITERS = {
    "till": write_csv,
    "wechat": write_json_lines,
    "events": write_json_lines,
    "aftersales": write_excel,
    "voice": write_json,
}


def hash_files(layout: Layout, system: str) -> dict[str, str]:
    """Hash of each table's files: their names and every byte."""
    with Deliveries(layout) as deliveries:
        tables = {
            name: deliveries.paths(system, name) for name in sorted(deliveries.counts(system))
        }
    hashes = {}
    for name, paths in tables.items():
        digest = hashlib.sha256()
        for path in sorted(paths):
            with (layout.files / path).open("rb") as handle:
                content = hashlib.file_digest(handle, "sha256").hexdigest()
            digest.update(f"{path} {content}\n".encode())
        hashes[name] = digest.hexdigest()[:16]
    return hashes


def sample(layout: Layout, table: Table, rows: int) -> tuple[list[str], list[tuple[object, ...]]]:
    """Columns and first rows of the newest file of a table, read as an ordinary program would."""
    with Deliveries(layout) as deliveries:
        paths = deliveries.paths(table.system, table.name)
    if not paths:
        return [], []
    path = layout.files / paths[-1]
    if path.suffix == ".xlsx":
        import openpyxl

        with contextlib.closing(openpyxl.load_workbook(path, read_only=True)) as book:
            lines = list(book.worksheets[0].iter_rows(max_row=rows + 1, values_only=True))
        return [str(name) for name in lines[0]], lines[1:]
    encoding = ENCODINGS.get(table.system, "utf-8")
    with path.open(encoding=encoding, newline="") as handle:
        if path.suffix == ".csv":
            records = list(itertools.islice(csv.reader(handle), rows + 1))
            return records[0], [tuple(record) for record in records[1:]]
        if path.suffix == ".jsonl":
            documents = [json.loads(line) for line in itertools.islice(handle, rows)]
        else:
            documents = json.load(handle)[:rows]
    names = list(dict.fromkeys(itertools.chain.from_iterable(documents)))
    return names, [tuple(document.get(name) for name in names) for document in documents]
