"""Delimited text: every line is a row or a reject, whatever it holds."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from customer360.sources.text import CsvError, open_csv


@dataclass
class Parsed:
    rows: pa.Table
    rejects: list[tuple[int, str, str]]


def read_csv(file: Path, *, delimiter: str, encoding: str) -> Parsed:
    parts = list(open_csv(file, delimiter=delimiter, encoding=encoding).parts)
    return Parsed(
        pa.concat_tables([part.rows for part in parts]),
        [reject for part in parts for reject in part.rejects],
    )


def parse(tmp_path: Path, content: bytes, encoding: str = "utf-8"):
    file = tmp_path / "drop.csv"
    file.write_bytes(content)
    return read_csv(file, delimiter=",", encoding=encoding)


def test_ragged_and_unclosed_lines_are_set_aside_and_cost_no_other_line(tmp_path):
    found = parse(tmp_path, b'a,b\n1,2\n3,4,5\n"x,6\n7,8\n9\n10,11\n')
    assert found.rows.column("a").to_pylist() == ["1", "7", "10"]
    assert [reject[0] for reject in found.rejects] == [3, 4, 6]


def test_a_quoted_line_break_belongs_to_its_record(tmp_path):
    found = parse(tmp_path, b'a,b\n"q\nr",5\n"a""b",\n')
    assert found.rows.to_pylist() == [
        {"_position": 2, "a": "q\nr", "b": "5"},
        {"_position": 4, "a": 'a"b', "b": None},
    ]


def test_position_is_the_line_in_the_file(tmp_path):
    found = parse(tmp_path, b"a\nx\ny\n")
    assert found.rows.column("_position").to_pylist() == [2, 3]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "begin with a line of column names"),
        (b"a,a\n1,2\n", "twice"),
        (b"a,\n1,2\n", "not at all"),
        (b"\xff\n1\n", "line 1 is not utf-8"),
        (("a\n" + "中\n" * 20).encode("gb18030"), "line 2 is not utf-8"),
    ],
)
def test_a_file_that_is_no_table_says_why(tmp_path, content, says):
    with pytest.raises(CsvError, match=says):
        parse(tmp_path, content)


def test_other_encodings_are_decoded_strictly(tmp_path):
    found = parse(tmp_path, "名,店\n欧阳娜,１号\n".encode("gb18030"), "gb18030")
    assert found.rows.to_pylist() == [{"_position": 2, "名": "欧阳娜", "店": "１号"}]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(alphabet='12,"\r x', max_size=8), max_size=12))
def test_no_line_is_lost(tmp_path_factory, lines):
    body = "".join(f"{line}\n" for line in lines)
    file = tmp_path_factory.mktemp("drop") / "drop.csv"
    file.write_bytes(b"a,b\n" + body.encode())
    found = read_csv(file, delimiter=",", encoding="utf-8")
    accounted = {reject[0] for reject in found.rejects}
    for row in found.rows.to_pylist():
        text = "".join(str(row[name] or "") for name in ("a", "b"))
        accounted |= set(range(row["_position"], row["_position"] + text.count("\n") + 1))
    blank = {number + 2 for number, line in enumerate(lines) if line.strip("\r") == ""}
    assert accounted | blank >= set(range(2, len(lines) + 2))
