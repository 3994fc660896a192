"""Files that mean no good: nothing crashes, hangs or grows, and every record is accounted for."""

import gzip
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import duckdb
import openpyxl
import pytest

from customer360.config import CompanySources, Source, Table
from customer360.exceptions import SourceError
from customer360.settings import load_settings
from customer360.sources import excel, json_rows, lines
from customer360.sources.files import FileSession
from customer360.sources.relation import Reading
from tests.collect.files_company import ingest, load
from tests.collect.malformed import Malformed, malformed
from tests.collect.test_files_formats import DAY, declare

BATCH = 40


def read(made: Malformed, folder: Path) -> tuple[int, int] | str:
    """(rows, rejects) of a malformed file, or the text of the error."""
    drop = folder / "drop"
    drop.mkdir(exist_ok=True)
    for old in drop.iterdir():
        old.unlink()
    (drop / f"a{made.suffix}").write_bytes(made.content)
    table = Table.model_validate(
        {
            "file": "a*",
            "each_file": "once",
            "key": ["id"],
            "columns": {"id": {"type": "bigint", "required": True}, "name": {"type": "text"}},
            **made.table,
        }
    )
    source = Source.model_validate(
        {
            "title": "x",
            "owner": "x",
            "stage": "basic",
            "format": made.kind,
            "path": str(drop),
            "tables": {"things": table},
        }
    )
    company = CompanySources.model_validate(
        {
            "title": "x",
            "currency": "CNY",
            "time_zone": "Asia/Shanghai",
            "first_day": DAY,
            "sources": {"drops": source},
        }
    )
    reading = Reading(
        settings=load_settings(),
        company=company,
        source_name="drops",
        source=source,
        table_name="things",
        table=table,
        as_of=DAY,
        start=None,
        end=company.day_end(DAY),
        taken=(),
        is_sweep=False,
        workspace=folder / "workspace",
    )
    with duckdb.connect(config={"threads": 1}) as connection:
        try:
            relation = FileSession(load_settings(), source).relation(connection, reading)
        except SourceError as error:
            return str(error)
        rows = connection.execute(f"from ({relation.sql})").fetchall()
        rejects = 0
        if relation.rejects_sql:
            rejects = len(connection.execute(f"from ({relation.rejects_sql})").fetchall())
        assert [file.rows for file in relation.files] == [len(rows) + rejects]
        places = connection.execute(f"select _position from ({relation.sql})").fetchall()
        assert len(set(places)) == len(rows)
    return len(rows), rejects


def check(seed: int, folder: Path) -> None:
    made = malformed(seed)
    found = read(made, folder)
    if isinstance(found, str):
        assert re.match(r"drops\.things: ", found), (seed, found)
        assert "fault of customer360" not in found, (seed, found)
        assert len(found) < 600, (seed, found)
    elif made.entries is not None:
        assert sum(found) == made.entries, seed


@pytest.mark.parametrize("first", range(0, 200, BATCH))
def test_malformed_files_are_accounted_for(tmp_path, first):
    for seed in range(first, first + BATCH):
        check(seed, tmp_path)


@pytest.mark.faults
@pytest.mark.parametrize("first", range(200, 2000, 200))
def test_two_thousand_malformed_files_are_accounted_for(tmp_path, first):
    for seed in range(first, first + 200):
        check(seed, tmp_path)


def test_the_generator_makes_files_that_are_read_and_files_that_are_refused(tmp_path):
    found = [read(malformed(seed), tmp_path) for seed in range(60)]
    assert sum(isinstance(each, str) for each in found) > 5
    assert sum(not isinstance(each, str) for each in found) > 20
    assert sum(each[1] for each in found if not isinstance(each, str)) > 20


def test_a_line_without_end_is_cut_and_memory_stays_small(tmp_path):
    """A line of 1 GB, read under a limit on memory that could not hold it."""
    script = f"""
import sys
from pathlib import Path
from tests.collect.malformed import Malformed
from customer360.sources.lines import cut
from customer360.sources.text import open_csv
from customer360.sources import json_rows
file = Path({str(tmp_path / "long")!r})
with file.open("wb") as stream:
    stream.write(b"id,name\\n1,a\\n2,")
    stream.seek(1_000_000_000, 1)
    stream.write(b"\\n3,b\\n")
parts = list(open_csv(file, delimiter=",", encoding="utf-8").parts)
rows = [row["id"] for part in parts for row in part.rows.to_pylist()]
rejects = [reject[:2] for part in parts for reject in part.rejects]
kept = max(len(reject[2]) for part in parts for reject in part.rejects)
lines = [
    (line["_position"], line["_reason"]) for part in json_rows._lines(file)
    for line in part.to_pylist()
]
# Not ru_maxrss: a process that was started by a big one begins with that one's peak.
status = Path("/proc/self/status").read_text()
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
print(rows, rejects, kept, lines, file=sys.stderr)
assert rows == ["1", "3"] and rejects == [(3, "line too long")] and kept < 2000
assert lines == [(1, None), (2, None), (3, "line too long"), (4, None)]
assert peak < 500, peak
file.unlink()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("kind", ["csv", "json_lines"])
def test_a_packed_file_that_unpacks_to_far_more_is_refused(drops, kind):
    declare(drops, kind, "*.gz")
    drops.put("a.gz", gzip.compress(b"id,name\n" + (b"1," + b"x" * 998 + b"\n") * 30_000))
    with pytest.raises(SourceError, match="a.gz: unpacks to more than 200 times its size"):
        ingest(drops, DAY)


def zipped(sheet: bytes, strings: bytes = b"") -> bytes:
    stream = io.BytesIO()
    openpyxl.Workbook().save(stream)
    made = io.BytesIO()
    with (
        zipfile.ZipFile(stream) as source,
        zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for member in source.infolist():
            content = source.read(member)
            if member.filename == "xl/worksheets/sheet1.xml" and sheet:
                content = sheet
            target.writestr(member.filename, content)
        if strings:
            target.writestr("xl/other/sharedStrings.xml", strings)
    return made.getvalue()


def test_a_workbook_that_unpacks_to_far_more_is_refused(drops):
    declare(drops, "excel", "*.xlsx")
    drops.put("a.xlsx", zipped(b" " * 60_000_000))
    with pytest.raises(SourceError, match="a.xlsx: unpacks to 60 MB"):
        ingest(drops, DAY)


HEAD = (
    b'<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/'
    b'main"><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>id</t></is></c></row>'
)


@pytest.mark.parametrize(
    "row",
    [
        b'<row r="99999999999"><c r="A99999999999"><v>1</v></c></row>',
        b'<row r="2"><c r="ZZZZZZ2"><v>1</v></c></row>',
        b'<row r="2"><c r="XFD2"><v>1</v></c></row>',
        b'<row r="2"><c r="A2"><v>1</v></c>',
    ],
)
def test_a_worksheet_of_impossible_cells_is_refused(drops, row, monkeypatch):
    monkeypatch.setattr(excel, "ROWS", 10_000)
    declare(drops, "excel", "*.xlsx")
    drops.put("a.xlsx", zipped(HEAD + row + b"</sheetData></worksheet>"))
    with pytest.raises(SourceError, match="a.xlsx: "):
        ingest(drops, DAY)


def test_entities_that_multiply_are_refused(drops):
    bomb = b'<!DOCTYPE x [<!ENTITY a "' + b"x" * 1000 + b'">'
    for number in range(1, 10):
        many = f"&a{number - 1};" * 10 if number > 1 else "&a;" * 10
        bomb += f'<!ENTITY a{number} "{many}">'.encode()
    sheet = HEAD.replace(b'<?xml version="1.0"?>', b'<?xml version="1.0"?>' + bomb + b"]>")
    cell = b'<row r="2"><c r="A2" t="inlineStr"><is><t>&a9;</t></is></c></row>'
    declare(drops, "excel", "*.xlsx")
    drops.put("a.xlsx", zipped(sheet + cell + b"</sheetData></worksheet>"))
    with pytest.raises(SourceError, match="a.xlsx: cannot be read"):
        ingest(drops, DAY)


def test_records_with_thousands_of_keys_are_refused(drops):
    drops.put("a.jsonl", "{" + ",".join(f'"k{n}": 1' for n in range(10_000)) + "}\n")
    with pytest.raises(SourceError, match="10000 keys that are not declared"):
        ingest(drops, DAY)


def test_a_document_beyond_the_cap_is_refused(drops, monkeypatch):
    monkeypatch.setattr(json_rows, "MAX_DOCUMENT_BYTES", 1000)
    declare(drops, "json_lines", "*.json")
    drops.put("a.json", "[" + '{"id": 1},' * 200 + '{"id": 2}]')
    with pytest.raises(SourceError, match="read whole"):
        ingest(drops, DAY)


def test_names_that_hold_sql_are_only_names(drops):
    declare(drops, "csv", "**/*.csv")
    evil = "x'); drop table meta.batches; --"
    drops.put(f"{evil}/{evil}.csv", f'id,name,"{evil}"\n1,x,y\nbad\n')
    batch, _ = ingest(drops, DAY)
    assert evil in batch.columns
    assert load(drops)["drops"]["quarantined"] == 1


def test_no_line_s_text_stands_in_an_error(drops):
    declare(drops, "csv", "*.csv")
    drops.put("a.csv", b"id,name\n" + "1,张三13800000000\n".encode("gbk") * 30)
    with pytest.raises(SourceError) as error:
        ingest(drops, DAY)
    assert "13800000000" not in str(error.value)


def test_the_caps_are_what_the_tests_say():
    assert lines.MAX_RATIO == 200
    assert lines.MAX_LINE_BYTES <= 16_000_000
