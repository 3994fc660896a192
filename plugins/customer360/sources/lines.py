"""Bytes of text files as blocks of whole lines, with every line numbered and bounded memory.

What belongs here: cutting a stream at line ends, unpacking .gz, caps on what hostile files may
cost. What does not: what a line means (``text``, ``json_rows``).
"""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

BLOCK_BYTES = 4_000_000
MAX_LINE_BYTES = 16_000_000
"""A longer line is refused; only its beginning is ever held."""

MAX_UNPACKED_BYTES = 50_000_000_000
MAX_RATIO = 200
"""How much larger than itself a packed file may unpack; honest CSV and JSON stay below 50."""

KEPT_OF_A_LONG_LINE = 1_000

BOMS = {
    b"\xef\xbb\xbf": "utf-8",
    b"\xff\xfe\x00\x00": "utf-32-le",
    b"\x00\x00\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}
"""Byte-order marks, the longer first where one begins like another."""


class UnreadableError(ValueError):
    """The file as a whole cannot be read; the text says why, without values."""


@dataclass(frozen=True)
class Block:
    """Whole lines.

    Attributes:
        first: number of the first line in its file, from 1.
        data: the bytes, line ends included; of a line that is too long, its beginning.
        is_too_long: whether this is one line beyond ``MAX_LINE_BYTES``.
    """

    first: int
    data: bytes
    is_too_long: bool = False


def chunks(file: Path) -> Iterator[bytes]:
    """The file's bytes, unpacked, in pieces.

    Raises:
        UnreadableError: it is packed and broken, or unpacks to more than the caps allow.
    """
    with file.open("rb") as stream:
        yield from _unpacked(file, stream)


def _unpacked(file: Path, stream: IO[bytes]) -> Iterator[bytes]:
    if file.suffix != ".gz":
        while piece := stream.read(BLOCK_BYTES):
            yield piece
        return
    size = max(1, file.stat().st_size)
    total = 0
    with gzip.open(stream) as packed:
        while True:
            try:
                piece = cast("IO[bytes]", packed).read(BLOCK_BYTES)
            except (OSError, EOFError, zlib.error):
                raise UnreadableError(
                    "is not a whole gzip file. Ask the source for it again."
                ) from None
            if not piece:
                return
            total += len(piece)
            if total > MAX_UNPACKED_BYTES or (total > BLOCK_BYTES and total > size * MAX_RATIO):
                raise UnreadableError(
                    f"unpacks to more than {MAX_RATIO} times its size. Is it what it should be? "
                    "Unpack it yourself if it is."
                )
            yield piece


def cut(pieces: Iterator[bytes]) -> Iterator[Block]:
    """Bytes as whole lines, in blocks as large as the pieces."""
    number = 1
    rest = b""
    skipping = False
    for piece in pieces:
        data = piece
        if skipping:
            end = data.find(b"\n")
            if end < 0:
                continue
            data, skipping = data[end + 1 :], False
        data = rest + data
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        if end:
            yield Block(number, data[:end])
            number += data.count(b"\n", 0, end)
        if len(rest) > MAX_LINE_BYTES:
            yield Block(number, rest[:KEPT_OF_A_LONG_LINE], is_too_long=True)
            number += 1
            rest, skipping = b"", True
    if rest:
        yield Block(number, rest)
