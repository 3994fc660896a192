"""Malformed files, made from a seed: what a careless or hostile source may drop."""

import gzip
import io
import json
import random
import zipfile
from dataclasses import dataclass

import openpyxl

WORDS = [
    "",
    "x",
    "张三",
    "１２",
    "a b",
    "1",
    "-7",
    "#REF!",
    "NaN",
    "\u3000",
    "😀",
    "'; drop",
    "=1+1",
]


@dataclass(frozen=True)
class Malformed:
    """A file's format, ending and bytes, and how a table of it is declared.

    Attributes:
        entries: rows and rejects that the file must give if it is read at all; None where only a
            reader can tell.
    """

    kind: str
    suffix: str
    content: bytes
    table: dict[str, object]
    entries: int | None


def malformed(seed: int) -> Malformed:
    """The file of a seed."""
    chance = random.Random(seed)
    return chance.choice([_csv, _csv, _json, _json, _document, _excel])(chance)


def _noise(chance: random.Random, content: bytes) -> bytes:
    """Bytes changed, cut out, doubled or put in at a few places."""
    data = bytearray(content)
    for _ in range(chance.choice([0, 0, 1, 1, 2, 5, 20])):
        place = chance.randrange(len(data) + 1)
        what = chance.randrange(5)
        if what == 0:
            data[place:place] = chance.randbytes(chance.randrange(1, 4))
        elif what == 1:
            del data[place : place + chance.randrange(1, 30)]
        elif what == 2:
            data[place:place] = chance.choice(
                [b'"', b"\x00", b"\r", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"{", b"[", b"\\"]
            )
        elif what == 3:
            data[place:place] = data[place : place + chance.randrange(1, 200)]
        elif data:
            data[place - 1] ^= 1 << chance.randrange(8)
    return bytes(data)


def _csv(chance: random.Random) -> Malformed:
    encoding = chance.choice(["utf-8", "utf-8", "utf-8-sig", "gb18030", "utf-16"])
    sign = chance.choice([",", ",", "\t", ";", "|"])
    lines = [sign.join(["id", "name"])]
    for number in range(chance.randrange(0, 40)):
        cells = [str(number), chance.choice(WORDS)]
        if chance.random() < 0.15:
            cells[1] = '"' + cells[1] + chance.choice(['""', "\n", sign, "\r\n"]) + '"'
        if chance.random() < 0.08:
            cells = cells * chance.randrange(0, 4)
        if chance.random() < 0.04:
            cells[-1:] = ['"open']
        lines.append(sign.join(cells))
    text = chance.choice(["\n", "\n", "\r\n", "\r"]).join(lines)
    if chance.random() < 0.1:
        text += "y" * chance.choice([10, 70_000])
    declared = "utf-8" if encoding == "utf-8-sig" else encoding
    if chance.random() < 0.15:
        declared = chance.choice(["utf-8", "gbk", "gb18030", "utf-16"])
    content = _noise(chance, text.encode(encoding, "replace"))
    table: dict[str, object] = {"delimiter": chance.choice([sign, sign, sign, ","])}
    table["encoding"] = declared
    return _perhaps_packed(chance, Malformed("csv", ".csv", content, table, None))


def _value(chance: random.Random, depth: int = 0) -> object:
    kind = chance.randrange(9 if depth < 4 else 7)
    if kind < 3:
        return chance.choice(WORDS)
    if kind == 3:
        return chance.choice([0, -1, 10**40, 2**63, 1.5, 1e308])
    if kind == 4:
        return chance.choice([None, True, False])
    if kind < 7:
        return chance.choice(["\ud800", "\x00", "\u2028", '"', "\\"])
    if kind == 7:
        return [_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(WORDS): _value(chance, depth + 1) for _ in range(chance.randrange(4))}


def _record(chance: random.Random, number: int) -> str:
    if chance.random() < 0.05:
        depth = chance.choice([50, 10_000])
        return '{"id": ' + "[" * depth + "]" * depth + "}"
    if chance.random() < 0.05:
        return chance.choice(
            ["NaN", "[1]", "{", "null", '{"id":1,"id":2}', '{"id":NaN}', "{}", "x"]
        )
    record: dict[str, object] = {"id": number, "name": _value(chance)}
    for _ in range(chance.randrange(3)):
        record[chance.choice([*WORDS, "ID", "_file", "_position", "a.b", "$x"])] = _value(chance)
    return json.dumps(record, ensure_ascii=chance.random() < 0.7)


def _json(chance: random.Random) -> Malformed:
    lines = [_record(chance, number) for number in range(chance.randrange(0, 30))]
    text = "".join(f"{line}{chance.choice([chr(10), chr(13) + chr(10)])}" for line in lines)
    content = _noise(chance, text.encode("utf-8", "surrogatepass"))
    entries = sum(
        1 for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n") if _is_something(line)
    )
    return _perhaps_packed(chance, Malformed("json_lines", ".jsonl", content, {}, entries))


def _is_something(line: bytes) -> bool:
    return line.decode(errors="backslashreplace").strip() != ""


def _document(chance: random.Random) -> Malformed:
    text = "[" + ",\n".join(_record(chance, number) for number in range(chance.randrange(12))) + "]"
    table: dict[str, object] = {}
    if chance.random() < 0.3:
        text, table = '{"data": {"items": ' + text + "}}", {"records": "data.items"}
    content = _noise(chance, text.encode("utf-8", "surrogatepass"))
    return Malformed("json_lines", ".json", content, table, None)


def _excel(chance: random.Random) -> Malformed:
    book = openpyxl.Workbook()
    for _ in range(chance.randrange(3)):
        book.active.append([])
    book.active.append(chance.choice([["id", "name"], ["id", "name", None, "more"], ["id", "id"]]))
    for number in range(chance.randrange(0, 20)):
        row = [chance.choice([number, str(number), None]), chance.choice(WORDS)]
        if chance.random() < 0.1:
            row += chance.choices([None, "stray", 3.5, True], k=3)
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    if chance.random() < 0.4:
        return Malformed("excel", ".xlsx", _noise(chance, stream.getvalue()), {}, None)
    # Noise within the parts of the workbook, so that it is unpacked at all.
    packed = io.BytesIO()
    with zipfile.ZipFile(stream) as source, zipfile.ZipFile(packed, "w") as target:
        for member in source.infolist():
            content = source.read(member)
            if chance.random() < 0.2:
                content = _noise(chance, content)
            target.writestr(member.filename, content)
    return Malformed("excel", ".xlsx", packed.getvalue(), {}, None)


def _perhaps_packed(chance: random.Random, made: Malformed) -> Malformed:
    if chance.random() > 0.1:
        return made
    packed = gzip.compress(made.content)
    if chance.random() < 0.5:
        return Malformed(made.kind, f"{made.suffix}.gz", packed, made.table, made.entries)
    packed = _noise(chance, packed)
    return Malformed(made.kind, f"{made.suffix}.gz", packed, made.table, None)
