"""Worksheets as rows of text, read cell by cell.

openpyxl is the reader: DuckDB's excel extension turns dates into numbers where it reads text, and
knows no row numbers; it is some ten times faster (DECISIONS). What belongs here: finding the
header, one way of writing a cell as text, caps on what a workbook may unpack to. What does not: the
meaning of a column (``customer360.contracts``).
"""

import contextlib
import datetime as dt
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa

from customer360.sources.lines import MAX_RATIO, UnreadableError
from customer360.sources.text import MAX_COLUMNS, Part, Reject

ROWS = 1_048_576
"""Rows of a worksheet."""

HEADER_WITHIN = 20
ROWS_A_PART = 20_000
MAX_UNPACKED_BYTES = 2_000_000_000
MAX_STRINGS_BYTES = 100_000_000
"""Of the list of a workbook's texts, which is held in memory."""

SMALL_BYTES = 20_000_000
"""Below this a high ratio is no danger."""

ERRORS = {"#REF!", "#N/A", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!"}


@dataclass(frozen=True)
class Sheet:
    """A worksheet: names of its columns, and its rows part by part."""

    header: list[str]
    parts: Iterator[Part]


@contextlib.contextmanager
def open_sheet(file: Path, *, sheet: str | None, wanted: set[str]) -> Iterator[Sheet]:
    """Read the header of a worksheet; its rows come when they are asked for.

    The header is the first row that names every column of ``wanted``, or the first that is not
    empty. Formulas stand for the value that was last calculated. Position is the row's number.

    Args:
        file: a workbook (.xlsx).
        sheet: name of the worksheet; the first if not given.
        wanted: columns without which a row cannot be the header.

    Raises:
        UnreadableError: no workbook, no such sheet, beyond the caps, or a header that cannot be.
    """
    _check_size(file)
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        with _explained():
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        stack.callback(book.close)
        names = [each.title for each in book.worksheets]
        if not names or (sheet is not None and sheet not in names):
            raise UnreadableError(
                f"has no sheet '{sheet}'; it has {', '.join(names[:10])}. Correct `sheet` of the "
                "table in sources.yml."
            )
        worksheet = book[sheet] if sheet is not None else book.worksheets[0]
        worksheet.reset_dimensions()  # what a workbook says of its size may be wrong
        rows = _rows(worksheet)
        header, early = _header(rows, wanted)
        yield Sheet([name for name in header if name], _parts(header, early, rows))


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Whatever openpyxl stumbles over is the workbook's fault."""
    try:
        yield
    except UnreadableError:
        raise
    except Exception as error:  # noqa: BLE001, it raises whatever the XML leads it into
        raise UnreadableError(
            f"cannot be read as an .xlsx workbook ({type(error).__name__}). Is it an old .xls, "
            "protected by a password, or cut off? Ask the source for it again."
        ) from None


def _check_size(file: Path) -> None:
    with _explained(), zipfile.ZipFile(file) as packed:
        members = packed.infolist()
    total = sum(member.file_size for member in members)
    strings = sum(m.file_size for m in members if m.filename.endswith("sharedStrings.xml"))
    ratio = total / max(1, file.stat().st_size)
    if (
        total > MAX_UNPACKED_BYTES
        or strings > MAX_STRINGS_BYTES
        or (total > SMALL_BYTES and ratio > MAX_RATIO)
    ):
        raise UnreadableError(
            f"unpacks to {total / 1e6:,.0f} MB, {ratio:,.0f} times its size, which is more than a "
            "workbook may. Ask the source for CSV."
        )


def _rows(worksheet: Any) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Number and cells of each row that is not empty."""
    with _explained():
        for number, row in enumerate(worksheet.iter_rows(values_only=True), start=1):
            if number > ROWS:
                raise UnreadableError(f"has more than {ROWS} rows; no worksheet can")
            width = len(row)
            while width and row[width - 1] in (None, ""):
                width -= 1
            if width > MAX_COLUMNS:
                raise UnreadableError(f"has {width} columns; no more than {MAX_COLUMNS} are read")
            if width:
                yield number, row[:width]


def _header(
    rows: Iterator[tuple[int, tuple[Any, ...]]], wanted: set[str]
) -> tuple[list[str], list[tuple[int, tuple[Any, ...]]]]:
    """Names of the columns ('' where a column has none), and rows read too far."""
    first: list[tuple[int, tuple[Any, ...]]] = []
    for number, row in rows:
        if number > HEADER_WITHIN and first:
            first.append((number, row))
            break
        first.append((number, row))
        names = [_text(cell) or "" for cell in row]
        if wanted <= {name.strip() for name in names}:
            first = []
            break
    else:
        if not first:
            raise UnreadableError("is empty; it must begin with a row of column names")
    if first:
        names = [_text(cell) or "" for cell in first[0][1]]
        first = first[1:]
    names = [name.strip() for name in names]
    folded = [name.casefold() for name in names if name]
    doubles = sorted({name for name in folded if folded.count(name) > 1})[:5]
    if doubles:
        raise UnreadableError(f"names a column twice: {', '.join(doubles)}")
    if {"_position", "_file"} & set(folded):
        raise UnreadableError("names a column _position or _file, which are kept for our own")
    return names, first


def _parts(
    header: list[str],
    early: list[tuple[int, tuple[Any, ...]]],
    rows: Iterator[tuple[int, tuple[Any, ...]]],
) -> Iterator[Part]:
    named = [index for index, name in enumerate(header) if name]
    fields = [(header[index], pa.string()) for index in named]
    schema = pa.schema([("_position", pa.int64()), *fields])
    positions: list[int] = []
    columns: list[list[str | None]] = [[] for _ in named]
    rejects: list[Reject] = []

    def part() -> Part:
        arrays = [pa.array(positions, pa.int64()), *(pa.array(c, pa.string()) for c in columns)]
        return Part(pa.table(arrays, schema=schema), rejects)

    for source in (early, rows):
        for number, row in source:
            cells = [_text(cell) for cell in row]
            reason = _reason(header, cells)
            if reason:
                line = "\t".join(cell or "" for cell in cells)
                rejects.append((number, reason, line))
            else:
                positions.append(number)
                for column, index in zip(columns, named, strict=True):
                    column.append(cells[index] if index < len(cells) else None)
            if len(positions) + len(rejects) >= ROWS_A_PART:
                yield part()
                positions, columns, rejects = [], [[] for _ in named], []
    yield part()


def _reason(header: list[str], cells: list[str | None]) -> str | None:
    """Why the cells are no row of the table."""
    for index, cell in enumerate(cells):
        if not cell:
            continue
        if index >= len(header) or not header[index]:
            return "a value stands in a column without a name"
        if cell in ERRORS:
            return f"{header[index]} holds {cell}, a formula's error"
        if "\x00" in cell:
            return "holds a NUL character"
    return None


def _text(cell: Any) -> str | None:
    """One way to write a cell: whole numbers without a point, moments as ISO 8601."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, str):
        return cell.encode("utf-8", "replace").decode()  # a lone surrogate is no character
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, dt.datetime):
        is_day = cell.time() == dt.time()
        return cell.date().isoformat() if is_day else cell.isoformat(sep=" ")
    return str(cell)
