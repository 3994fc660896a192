"""Delimited text, read so that every line is accounted for.

DuckDB's and Arrow's readers lose rows in silence where a quote stays open, so their result is only
taken when it has as many rows as the file has lines; any other file is read line by line.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

MAX_RECORD_CHARACTERS = 1_000_000
MAX_RECORD_LINES = 1_000


class CsvError(ValueError):
    """The file as a whole cannot be read; the text says why."""


@dataclass(frozen=True)
class Parsed:
    """A delimited file as text.

    Attributes:
        header: names of the columns.
        rows: ``_position`` (line in the file, from 1) and a text column each; empty is null.
        rejects: ``_position``, ``_reason``, ``_line`` of lines that are not rows.
    """

    header: list[str]
    rows: pa.Table
    rejects: pa.Table


def read_csv(file: Path, *, delimiter: str, encoding: str) -> Parsed:
    """Read ``file`` whole.

    Raises:
        CsvError: not the encoding, empty, or a column named twice or not at all.
    """
    data = file.read_bytes()
    try:
        text = data.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise CsvError(
            f"line {line} is not {encoding}. Correct `encoding` of the table in sources.yml."
        ) from None
    except LookupError:
        raise CsvError(f"unknown encoding '{encoding}'") from None
    first, _, body = text.partition("\n")
    header = next(csv.reader([first], delimiter=delimiter), [])
    if not any(header):
        raise CsvError("is empty; it must begin with a line of column names")
    doubles = sorted({column for column in header if header.count(column) > 1})
    if doubles or "" in header:
        raise CsvError(f"names a column twice or not at all: {', '.join(doubles) or 'no name'}")
    rows = _fast(body, header, delimiter)
    if rows is not None:
        return Parsed(header, rows, _rejects([]))
    return _line_by_line(body, header, delimiter)


def _fast(body: str, header: list[str], delimiter: str) -> pa.Table | None:
    """All rows at once, or None where the file is not one row a line."""
    lines = body.count("\n") + (not body.endswith("\n") and body != "")
    if lines == 0 or "\x00" in body or _has_open_quote(body):
        return None
    try:
        table = pyarrow.csv.read_csv(
            io.BytesIO(body.encode()),
            read_options=pyarrow.csv.ReadOptions(column_names=header, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=False, ignore_empty_lines=False
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != lines:
        return None
    position = pa.array(range(2, lines + 2), pa.int64())
    return table.add_column(0, "_position", position)


def _has_open_quote(body: str) -> bool:
    """Whether any line holds an odd number of quotes."""
    if '"' not in body:
        return False
    quotes = pc.count_substring(pa.array(body.split("\n"), pa.large_string()), '"')
    return bool(pc.any(pc.equal(pc.bit_wise_and(quotes, 1), 1)).as_py())


def _line_by_line(body: str, header: list[str], delimiter: str) -> Parsed:
    """Each record by itself: one that never closes costs its first line, not all that follow."""
    lines = body.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    positions: list[int] = []
    records: list[list[str]] = []
    rejects: list[tuple[int, str, str]] = []
    index = 0
    while index < len(lines):
        end, record, reason = _record(lines, index, len(header), delimiter)
        if reason:
            rejects.append((index + 2, reason, lines[index][:MAX_RECORD_CHARACTERS]))
        elif record is not None:
            positions.append(index + 2)
            records.append(record)
        index = end
    columns = list(zip(*records, strict=True)) if records else [()] * len(header)
    rows = pa.table(
        {
            "_position": pa.array(positions, pa.int64()),
            **{
                name: pa.array([value or None for value in column], pa.string())
                for name, column in zip(header, columns, strict=True)
            },
        }
    )
    return Parsed(header, rows, _rejects(rejects))


def _record(
    lines: list[str], start: int, width: int, delimiter: str
) -> tuple[int, list[str] | None, str | None]:
    """(next line, record, reason): the record that begins at ``start``, or why there is none."""
    if lines[start].strip("\r") == "":
        return start + 1, None, None
    if len(lines[start]) > MAX_RECORD_CHARACTERS:
        return start + 1, None, "line too long"
    if "\x00" in lines[start]:
        return start + 1, None, "holds a NUL character"
    length = 0
    for end in range(start + 1, min(len(lines), start + MAX_RECORD_LINES) + 1):
        length += len(lines[end - 1])
        if length > MAX_RECORD_CHARACTERS:
            break
        text = "\n".join(lines[start:end]).removesuffix("\r")
        if text.count('"') % 2:
            continue
        try:
            parsed = list(
                csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
            )
        except csv.Error:
            return start + 1, None, "wrong quoting"
        if len(parsed) == 1 and len(parsed[0]) == width:
            return end, parsed[0], None
        if end == start + 1:
            count = len(parsed[0]) if parsed else 0
            return end, None, f"{count} fields where the header has {width}"
        break
    return start + 1, None, "a quote is opened and not closed"


def _rejects(rejects: list[tuple[int, str, str]]) -> pa.Table:
    return pa.table(
        {
            "_position": pa.array([reject[0] for reject in rejects], pa.int64()),
            "_reason": pa.array([reject[1] for reject in rejects], pa.string()),
            "_line": pa.array([reject[2] for reject in rejects], pa.string()),
        }
    )
