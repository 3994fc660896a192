"""Delimited text, read so that every line is accounted for.

DuckDB's and Arrow's readers lose rows in silence where a quote stays open, so their result is only
taken for a block of lines when it has as many rows as lines; any other block is read line by line.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from customer360.sources.lines import BOMS, Block, UnreadableError, chunks, cut

MAX_RECORD_CHARACTERS = 1_000_000
MAX_RECORD_LINES = 1_000
MAX_COLUMNS = 2_000
OTHER_DELIMITERS = ";\t|,"
FEW_BAD_LINES = 10

# The wider encoding reads what the narrower one does, and the rare characters of names besides.
WIDER = {"gbk": "gb18030", "gb2312": "gb18030", "utf-8": "utf-8"}
# In these a line end is not the one byte, so they are decoded before lines are cut.
NOT_BY_LINES = re.compile(r"utf-16|utf-32|utf-7|iso2022|hz")

# A quoted field that goes on after its closing quote; readers differ on what it says.
BROKEN_QUOTING = r'(?:^|{0})"(?:[^"]|"")*"[^"\r{0}]'

SURROGATE = re.compile("[\ud800-\udfff]")


class CsvError(UnreadableError):
    """The file as a whole cannot be read; the text says why."""


Reject = tuple[int, str, str]
"""Line in the file, reason, the line."""


@dataclass(frozen=True)
class Part:
    """Some records of a file.

    Attributes:
        rows: ``_position`` (line in the file, from 1) and a text column each; empty is null.
        rejects: lines that are not rows.
    """

    rows: pa.Table
    rejects: list[Reject]


@dataclass(frozen=True)
class Csv:
    """A delimited file: names of its columns, and its records part by part."""

    header: list[str]
    parts: Iterator[Part]


def open_csv(file: Path, *, delimiter: str, encoding: str) -> Csv:
    """Read the header of ``file``; its records come when they are asked for.

    A byte-order mark says more than ``encoding``.

    Raises:
        CsvError: not the encoding, empty, or a column named twice or not at all.
        UnreadableError: it is packed and cannot be unpacked.
    """
    try:
        b"".decode(encoding)
        codec = codecs.lookup(encoding).name
    except LookupError:
        raise CsvError(f"unknown encoding '{encoding}'") from None
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise CsvError("`delimiter` in sources.yml must be one character, no quote or line end")
    pieces = chunks(file)
    start = next(pieces, b"")
    for mark, meant in BOMS.items():
        if start.startswith(mark):
            codec = meant
            start = start[len(mark) :]
            break
    codec = WIDER.get(codec, codec)
    pieces = _put_back(start, pieces)
    if NOT_BY_LINES.match(codec):
        pieces, codec = _in_utf8(pieces, codec), "utf-8"
    return _Reader(delimiter, codec).open(cut(pieces))


def _put_back(start: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield start
    yield from pieces


def _in_utf8(pieces: Iterator[bytes], codec: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(codec)()
    lines = 1
    try:
        for piece in pieces:
            text = decoder.decode(piece)
            lines += text.count("\n")
            yield text.encode()
        decoder.decode(b"", final=True)
    except UnicodeError:  # a missing byte-order mark is no UnicodeDecodeError
        raise CsvError(
            f"is not {codec}, after line {lines}. Correct `encoding` of the table in sources.yml."
        ) from None


class _Reader:
    """Records of one file from blocks of its lines."""

    def __init__(self, delimiter: str, codec: str) -> None:
        self.delimiter = delimiter
        self.codec = codec
        self.header: list[str] = []
        self.schema = pa.schema([])
        broken = BROKEN_QUOTING.format(re.escape(delimiter))
        self.broken_quoting = broken if delimiter.isascii() else None

    def open(self, blocks: Iterator[Block]) -> Csv:
        first = next(blocks, None)
        if first is None:
            raise CsvError("is empty; it must begin with a line of column names")
        line, _, body = first.data.partition(b"\n")
        self.header = self._header(line, first)
        fields = [(name, pa.string()) for name in self.header]
        self.schema = pa.schema([("_position", pa.int64()), *fields])
        return Csv(self.header, self._parts(Block(2, body), blocks))

    def _header(self, line: bytes, block: Block) -> list[str]:
        if block.is_too_long:
            raise CsvError("the line of column names is too long; is it text?")
        try:
            text = line.decode(self.codec)
        except UnicodeDecodeError:
            raise self._wrong_encoding(1) from None
        try:
            row = next(csv.reader([text], delimiter=self.delimiter, strict=True), [])
        except csv.Error:
            row = []
            if "\r" in text.strip("\r"):
                raise CsvError("its lines end with CR alone; they must end with LF") from None
            raise CsvError("the line of column names has an open quote") from None
        names = [name.strip() for name in row]
        if not any(names):
            raise CsvError("is empty; it must begin with a line of column names")
        if "\x00" in text:
            raise CsvError("the line of column names holds a NUL character; is it UTF-16?")
        folded = [name.casefold() for name in names]
        doubles = sorted({name for name in names if folded.count(name.casefold()) > 1})[:5]
        if doubles or "" in names:
            raise CsvError(f"names a column twice or not at all: {', '.join(doubles) or 'no name'}")
        if len(names) > MAX_COLUMNS:
            raise CsvError(f"has {len(names)} columns; no more than {MAX_COLUMNS} are read")
        ours = [name for name in names if name.casefold() in ("_position", "_file")]
        if ours:
            raise CsvError(f"names a column {ours[0]}, which is kept for our own")
        return names

    def _wrong_encoding(self, line: int) -> CsvError:
        return CsvError(
            f"line {line} is not {self.codec}. Correct `encoding` of the table in sources.yml."
        )

    def _parts(self, body: Block, blocks: Iterator[Block]) -> Iterator[Part]:
        carried: list[str] = []
        block: Block | None = body
        while block is not None:
            following = next(blocks, None)
            if block.is_too_long:
                start = block.first - len(carried)
                part, _ = self._line_by_line(carried, start, is_last=True)
                if carried:
                    yield part
                carried = []
                text = block.data.decode(self.codec, errors="backslashreplace")
                yield Part(self.schema.empty_table(), [(block.first, "line too long", text)])
            else:
                part, carried = self._part(carried, block, is_last=following is None)
                yield part
            block = following

    def _part(self, carried: list[str], block: Block, *, is_last: bool) -> tuple[Part, list[str]]:
        """Records of a block, and the lines of its end that only the next one can complete."""
        lines = self._decode_by_line(block)
        if lines is None and not carried:
            utf8 = block.data
            if self.codec != "utf-8":
                utf8 = utf8.decode(self.codec).encode()
            rows = self._fast(utf8, block.first)
            if rows is not None:
                return Part(rows, []), []
        if lines is None:
            lines = block.data.decode(self.codec).split("\n")
            if lines[-1] == "":
                lines.pop()
        first = block.first - len(carried)
        return self._line_by_line(carried + lines, first, is_last=is_last)

    def _decode_by_line(self, block: Block) -> list[str] | None:
        """None where the block can be decoded, else its lines; what cannot be read of them stands
        as lone surrogates.

        Raises:
            CsvError: so many lines are wrong that the declared encoding must be.
        """
        try:
            block.data.decode(self.codec)
        except UnicodeDecodeError:
            pass
        else:
            return None
        found, bad, worded = [], [], 0
        for number, line in enumerate(block.data.removesuffix(b"\n").split(b"\n")):
            worded += not line.isascii()
            try:
                found.append(line.decode(self.codec))
            except UnicodeDecodeError:
                bad.append(block.first + number)
                found.append(line.decode("ascii", errors="surrogateescape"))
        if len(bad) > FEW_BAD_LINES and len(bad) * 2 > worded:
            raise self._wrong_encoding(bad[0])
        return found

    def _fast(self, body: bytes, first: int) -> pa.Table | None:
        """All rows at once, or None where the block is not one row a line."""
        lines = body.count(b"\n") + (not body.endswith(b"\n") and body != b"")
        if lines == 0 or b"\x00" in body or not self.delimiter.isascii():
            return None
        if b'"' in body and self._has_open_quote(body):
            return None
        try:
            table = pyarrow.csv.read_csv(
                io.BytesIO(body),
                read_options=pyarrow.csv.ReadOptions(
                    column_names=self.header, use_threads=False, block_size=len(body) + 1
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=False, ignore_empty_lines=False
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(self.header, pa.string()),
                    strings_can_be_null=True,
                    null_values=[""],
                    quoted_strings_can_be_null=True,
                ),
            )
        except pa.ArrowInvalid:
            return None
        if table.num_rows != lines:
            return None
        return table.add_column(0, "_position", pa.array(range(first, first + lines), pa.int64()))

    def _has_open_quote(self, body: bytes) -> bool:
        """Whether any line holds an odd number of quotes, or text after a closing one."""
        lines = pc.split_pattern(pa.array([body], pa.large_binary()), b"\n").flatten()
        lines = lines.cast(pa.large_string())
        quotes = pc.count_substring(lines, '"')
        if pc.any(pc.equal(pc.bit_wise_and(quotes, 1), 1)).as_py():
            return True
        quoted = lines.filter(pc.greater(quotes, 0))
        return bool(pc.any(pc.match_substring_regex(quoted, self.broken_quoting)).as_py())

    def _line_by_line(
        self, lines: list[str], first: int, *, is_last: bool
    ) -> tuple[Part, list[str]]:
        """Each record by itself: one that never closes costs its first line, not all that follow.

        Returns:
            The records, and the lines of one that the next block may complete.
        """
        positions: list[int] = []
        records: list[list[str]] = []
        rejects: list[Reject] = []
        index = 0
        while index < len(lines):
            end, record, reason = self._record(lines, index, is_last=is_last)
            if end == index:
                break
            if reason:
                text = lines[index][:MAX_RECORD_CHARACTERS]
                text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                rejects.append((first + index, reason, text))
            elif record is not None:
                positions.append(first + index)
                records.append(record)
            index = end
        columns = list(zip(*records, strict=True)) if records else [()] * len(self.header)
        rows = pa.table(
            [
                pa.array(positions, pa.int64()),
                *(pa.array([value or None for value in column], pa.string()) for column in columns),
            ],
            schema=self.schema,
        )
        return Part(rows, rejects), lines[index:]

    def _record(
        self, lines: list[str], start: int, *, is_last: bool
    ) -> tuple[int, list[str] | None, str | None]:
        """(next line, record, reason): the record that begins at ``start``, or why there is none.

        The next line is ``start`` itself where more lines are needed to tell.
        """
        if lines[start].strip("\r") == "":
            return start + 1, None, None
        if len(lines[start]) > MAX_RECORD_CHARACTERS:
            return start + 1, None, "line too long"
        if "\x00" in lines[start]:
            return start + 1, None, "holds a NUL character"
        length = 0
        stop = min(len(lines), start + MAX_RECORD_LINES)
        quotes = 0
        for end in range(start + 1, stop + 1):
            length += len(lines[end - 1])
            if length > MAX_RECORD_CHARACTERS:
                break
            quotes += lines[end - 1].count('"')
            if quotes % 2:
                continue
            text = "\n".join(lines[start:end]).removesuffix("\r")
            if not text.isascii() and SURROGATE.search(text):
                return start + 1, None, f"is not {self.codec}"
            try:
                parsed = list(csv.reader((text,), delimiter=self.delimiter, strict=True))
            except csv.Error:
                return start + 1, None, "wrong quoting"
            if len(parsed) == 1 and len(parsed[0]) == len(self.header):
                return end, parsed[0], None
            if end == start + 1:
                count = len(parsed[0]) if parsed else 0
                return end, None, f"{count} fields where the header has {len(self.header)}"
            break
        else:
            if stop == len(lines) and not is_last:
                return start, None, None
        return start + 1, None, "a quote is opened and not closed"
