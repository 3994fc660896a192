"""Each format of a file drop: what it holds comes through, and what it cannot hold is told."""

import datetime as dt
import gzip
import json

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from customer360.exceptions import SchemaDriftError, SourceError
from customer360.sources import lines
from customer360.sources.json_rows import steps
from tests.collect.files_company import ingest, load, query, state

DAY = dt.date(2026, 6, 1)


def declare(drops, kind, pattern, columns=None, **table):
    drops.source["format"] = kind
    drops.table["file"] = pattern
    drops.table.update(table)
    if columns:
        drops.table["columns"] = {"id": {"type": "bigint", "required": True}} | columns
    drops.write()


def rows_of(drops):
    batch, _ = ingest(drops, DAY)
    load(drops)
    return batch, state(drops)


CSV = 'id,name\r\n1,欧阳娜\r\n2,"a,""b\nc"\r\n'
SAME = [(1, "欧阳娜"), (2, 'a,"b\nc')]


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("utf-8", CSV.encode()),
        ("utf-8", CSV.encode("utf-8-sig")),
        ("gb18030", CSV.encode("gb18030")),
        ("gbk", CSV.encode("gbk")),
        ("utf-16", CSV.encode("utf-16")),
        ("utf-16-be", CSV.encode("utf-16-be")),
        ("utf-8", CSV.encode("utf-16")),
        ("gb18030", CSV.encode("utf-8-sig")),
    ],
)
def test_csv_in_every_encoding(drops, encoding, content):
    declare(drops, "csv", "*.csv", encoding=encoding)
    drops.put("a.csv", content)
    assert rows_of(drops)[1] == SAME


@pytest.mark.parametrize("sign", ["\t", ";", "|", "\x01", "｜"])
def test_csv_with_any_delimiter(drops, sign):
    declare(drops, "csv", "*.csv", delimiter=sign)
    drops.put("a.csv", f"id{sign}name\n1{sign}a,b\n")
    assert rows_of(drops)[1] == [(1, "a,b")]


def test_rare_characters_of_names_come_through(drops):
    declare(drops, "csv", "*.csv", encoding="gbk")
    drops.put("a.csv", "id,name\n1,㛃𠮷\n".encode("gb18030"))
    assert rows_of(drops)[1] == [(1, "㛃𠮷")]


@pytest.mark.parametrize(
    ("kind", "content"), [("csv", CSV), ("json_lines", '{"id":1,"name":"x"}\n')]
)
def test_packed_files_are_unpacked(drops, kind, content):
    declare(drops, kind, "*.gz")
    drops.put("a.gz", gzip.compress(content.encode()))
    assert rows_of(drops)[0].rows == (2 if kind == "csv" else 1)


def test_a_record_across_blocks_of_the_file_is_whole(drops, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK_BYTES", 7)
    declare(drops, "csv", "*.csv")
    drops.put("a.csv", 'id,name\n1,"a\nb\nc"\n2,x\n3,"unclosed\n4,y\n')
    batch, found = rows_of(drops)
    assert found == [(1, "a\nb\nc"), (2, "x"), (4, "y")]
    assert (batch.rows, batch.rejects) == (3, 1)
    assert query(drops, "select position from meta.quarantine") == [(6,)]


def test_lines_that_cannot_be_read_are_set_aside_one_by_one(drops):
    declare(drops, "csv", "*.csv")
    drops.put("a.csv", b"id,name\n1,\xff\xfe\n2,b\n3,c\x00\n4,d,e\n\n5,f\n")
    batch, found = rows_of(drops)
    assert found == [(2, "b"), (5, "f")]
    assert query(drops, "select position, reason from meta.quarantine order by 1") == [
        (2, "is not utf-8"),
        (4, "holds a NUL character"),
        (5, "3 fields where the header has 2"),
    ]
    assert batch.files[0].rows == 5


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "begin with a line of column names"),
        (b"id;name\n1;x\n", "`delimiter`.*';'"),
        (b"id,id\n1,2\n", "a column twice"),
        (b"id,ID\n1,2\n", "a column twice"),
        (b"id,name\r1,2\r", "CR alone"),
        (b'id,"name\n1,2\n', "open quote"),
        (b"id,_file\n1,2\n", "kept for our own"),
        (("id,name\n" + "1,中文\n" * 30).encode("gbk"), "line 2 is not utf-8"),
        (",".join(f"c{n}" for n in range(10_000)).encode() + b"\n", "10000 columns"),
        (b"\x00i\x00d\n", "NUL"),
    ],
)
def test_a_csv_that_is_no_table_says_why(drops, content, says):
    declare(drops, "csv", "*.csv")
    drops.put("a.csv", content)
    with pytest.raises(SourceError, match=says) as error:
        ingest(drops, DAY)
    assert "a.csv" in str(error.value)


def test_only_a_header_is_a_file_of_no_rows(drops):
    declare(drops, "csv", "*.csv")
    drops.put("a.csv", "id,name\n")
    assert ingest(drops, DAY)[0].rows == 0


def test_an_older_file_may_lack_a_column_that_came_later_but_not_a_required_one(drops):
    declare(drops, "csv", "*.csv")
    drops.put("a_20260501.csv", "id\n1\n")
    drops.put("a_20260502.csv", "id,name,extra\n2,x,y\n")
    batch, found = rows_of(drops)
    assert found == [(1, None), (2, "x")]
    assert batch.notes == ["column extra is new"]
    drops.put("b_20260503.csv", "name\nz\n")
    with pytest.raises(SchemaDriftError, match="column id is gone"):
        ingest(drops, dt.date(2026, 6, 2))


SENSORS = {
    "_track_id": 7,
    "type": "track",
    "distinct_id": "o2",
    "time": 1780286400000,
    "properties": {"$city": "上海", "a.b": {"c": True}, "price": 12.5, "list": [1, 2]},
}


def test_json_of_sensors_analytics(drops):
    columns = {
        "type": {"type": "text"},
        "time": {"type": "timestamp", "format": "epoch_ms"},
        "city": {"type": "text", "path": "properties.$city"},
        "flag": {"type": "boolean", "path": 'properties."a.b".c'},
        "price": {"type": "decimal(12,2)", "path": "properties.price"},
        "list": {"type": "json", "path": "properties.list"},
        "absent": {"type": "text", "path": "properties.none.at.all"},
    }
    columns["id"] = {"type": "bigint", "required": True, "path": "_track_id"}
    declare(drops, "json_lines", "*.jsonl", columns)
    drops.put("a.jsonl", json.dumps(SENSORS, ensure_ascii=False) + "\n")
    batch, found = rows_of(drops)
    [row] = found
    assert row[0] == 7
    assert dict(zip(columns, row[1:], strict=False))["type"] == "track"
    assert row[2:] == (dt.datetime(2026, 6, 1, 4), "上海", True, 12.5, "[1,2]", None)
    assert batch.notes == ["column distinct_id is new"]


def test_json_of_the_segment_spec(drops):
    columns = {
        "id": {"type": "text", "required": True, "path": "messageId"},
        "at": {"type": "timestamp", "path": "timestamp", "required": True},
        "user": {"type": "text", "path": "userId"},
        "url": {"type": "text", "path": "context.page.url"},
        "traits": {"type": "json"},
    }
    declare(drops, "json_lines", "*.jsonl", columns)
    drops.table["columns"] = columns
    drops.write()
    event = {
        "messageId": "m1",
        "timestamp": "2026-06-01T04:00:00.123Z",
        "context": {"page": {"url": "https://x/"}},
        "traits": {"email": "a@b"},
    }
    drops.put("a.jsonl", "\ufeff" + json.dumps(event) + "\r\n\r\n")
    at = dt.datetime(2026, 6, 1, 4, 0, 0, 123000)
    assert rows_of(drops)[1] == [("m1", at, None, "https://x/", '{"email":"a@b"}')]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": 1', "is not JSON"),
        ("[1]", "is not a JSON object"),
        ("7", "is not a JSON object"),
        ('{"id": 1, "id": 2}', "holds a key twice"),
        ('{"id": "\\ud800"}', "is not JSON"),
        ('{"id": "\\u0000"}', "holds a NUL character"),
        ('{"id": 1e999}', "id is not a bigint"),
        ('{"id": 123456789012345678901234567890}', "id is not a bigint"),
        ('{"id": NaN}', "id is not a bigint"),
        ('{"id": ' + "[" * 10_000 + "]" * 10_000 + "}", "id is not a bigint"),
        ('{"id":' * 10_000 + "1" + "}" * 10_000, "id is not a bigint"),
    ],
)
def test_json_that_is_no_record_is_set_aside(drops, line, reason):
    drops.put("a.jsonl", f'{line}\n{{"id": 2, "name": "\\\\u0000 as text"}}\n')
    assert rows_of(drops)[1] == [(2, "\\u0000 as text")]
    assert query(drops, "select position, reason from meta.quarantine") == [(1, reason)]


def test_keys_that_differ_in_case_or_look_like_ours_are_columns_of_their_own(drops):
    drops.put("a.jsonl", '{"id": 1, "ID": 2, "Id": 3, "_file": "x", "": 4}\n')
    batch, found = rows_of(drops)
    assert found == [(1, None)]
    assert set(batch.columns) == {"id", "name", "ID_2", "Id_3", "_file_2", "_"}


def test_a_document_s_list_holds_the_records(drops):
    declare(drops, "json_lines", "*.json")
    drops.put("a.json", '[\n{"id":1,"name":"x"},\n{"id":2,"name":"y"},\n3]\n')
    batch, found = rows_of(drops)
    assert found == [(1, "x"), (2, "y")]
    assert query(drops, "select position, reason from meta.quarantine") == [
        (3, "is not a JSON object")
    ]
    assert batch.files[0].rows == 3


def test_a_document_may_hold_the_list_deeper(drops):
    declare(drops, "json_lines", "*.json", records="data.items")
    drops.put("a.json", '{"data": {"items": [{"id": 1, "name": "x"}]}}')
    assert rows_of(drops)[1] == [(1, "x")]
    drops.put("b.json", '{"data": {"items": {"id": 1}}}')
    with pytest.raises(SourceError, match="b.json: has no list of records at data.items"):
        ingest(drops, dt.date(2026, 6, 2))


@pytest.mark.parametrize("content", [b'[{"id": 1}, ', b'[{"id": "\xff"}]'])
def test_half_a_document_is_refused_whole(drops, content):
    declare(drops, "json_lines", "*.json")
    drops.put("a.json", content)
    with pytest.raises(SourceError, match="a.json"):
        ingest(drops, DAY)


@pytest.mark.parametrize("path", ["", "a.", ".a", 'a"b', '"a"b'])
def test_a_path_that_is_none_is_told(path):
    with pytest.raises(ValueError, match="is not a path"):
        steps(path)


def test_parquet_of_several_days_keeps_file_and_row(drops):
    declare(drops, "parquet", "*.parquet")
    for number in (1, 2):
        pq.write_table(
            pa.table({"id": pa.array([number, None], pa.int64()), "name": ["x", "y"]}),
            drops.files / f"a{number}.parquet",
        )
    batch, found = rows_of(drops)
    assert found == [(1, "x"), (2, "x")]
    assert [file.rows for file in batch.files] == [2, 2]
    assert query(drops, "select file, position from meta.quarantine order by all") == [
        ("a1.parquet", 2),
        ("a2.parquet", 2),
    ]


def test_a_parquet_file_that_is_cut_off_is_refused(drops):
    declare(drops, "parquet", "*.parquet")
    drops.put("a.parquet", b"PAR1 and then nothing")
    with pytest.raises(SourceError, match="a.parquet cannot be read"):
        ingest(drops, DAY)


def workbook(drops, name, rows, sheet="visits"):
    book = openpyxl.Workbook()
    book.active.title = "notes"
    target = book.create_sheet(sheet)
    for row in rows:
        target.append(row)
    book.save(drops.files / name)
    return book


EXCEL = {
    "name": {"type": "text"},
    "on": {"type": "date"},
    "at": {"type": "timestamp"},
    "amount": {"type": "decimal(12,2)"},
}


def test_excel_by_sheet_with_dates_as_dates_and_as_text(drops):
    declare(drops, "excel", "*.xlsx", EXCEL, sheet="visits")
    workbook(
        drops,
        "a.xlsx",
        [
            ["Visits of June", None, None],
            [],
            ["id", "name", "on", "at", "amount", None],
            [1, "0139", dt.date(2026, 6, 1), dt.datetime(2026, 6, 1, 12), 1.5],
            ["2", 5, "2026/6/2", "2026-06-01 12:00:00", "１２"],
            [None, None, None, None, None],
            [3.0, True, None, None, 0.1 + 0.2],
            ["total", None, None, None, 99],
            [4, "#REF!", None, None, None],
            [5, "x", None, None, None, "stray"],
        ],
    )
    batch, found = rows_of(drops)
    noon = dt.datetime(2026, 6, 1, 4)
    assert [row[:4] for row in found] == [
        (1, "0139", dt.date(2026, 6, 1), noon),
        (2, "5", dt.date(2026, 6, 2), noon),
        (3, "true", None, None),
    ]
    assert [float(row[4]) for row in found] == [1.5, 12.0, 0.3]
    assert query(drops, "select position, reason from meta.quarantine order by all") == [
        (8, "id is not a bigint"),
        (9, "name holds #REF!, a formula's error"),
        (10, "a value stands in a column without a name"),
    ]
    assert batch.files[0].rows == 6


def test_excel_without_the_sheet_says_which_there_are(drops):
    declare(drops, "excel", "*.xlsx", sheet="visit")
    workbook(drops, "a.xlsx", [["id", "name"]])
    with pytest.raises(SourceError, match="no sheet 'visit'; it has notes, visits"):
        ingest(drops, DAY)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut", b"\xd0\xcf\x11\xe0 old or locked"])
def test_what_is_no_workbook_is_refused(drops, content):
    declare(drops, "excel", "*.xlsx")
    drops.put("a.xlsx", content)
    with pytest.raises(SourceError, match="a.xlsx: cannot be read as an .xlsx"):
        ingest(drops, DAY)


def test_a_column_s_quote_that_closes_early_is_not_bent(drops):
    declare(drops, "csv", "*.csv")
    drops.put("a.csv", 'id,name\n1,"x"y\n2,5" pipe 6"\n')
    assert rows_of(drops)[1] == [(2, '5" pipe 6"')]
