"""What text, spreadsheets and databases hold, in the types of a contract."""

import datetime as dt
from decimal import Decimal

import duckdb
import pytest
from pydantic import ValidationError

from customer360.config import Column, CompanySources, Drift, Table
from customer360.contracts import check_schema, typed_select

COMPANY = CompanySources.model_validate(
    {
        "title": "x",
        "currency": "CNY",
        "time_zone": "Asia/Shanghai",
        "first_day": dt.date(2026, 1, 1),
        "sources": {
            "s": {
                "title": "s",
                "owner": "o",
                "stage": "basic",
                "format": "csv",
                "path": "x",
                "tables": {
                    "t": {
                        "file": "*",
                        "key": ["c"],
                        "columns": {"c": {"type": "text", "required": True}},
                    }
                },
            }
        },
    }
)  # fmt: skip


def typed(value, kind, found="VARCHAR", **column):
    """(value in the contract's type, whether it is refused)."""
    columns = {"c": {"type": kind, "required": True, **column}}
    table = Table.model_validate({"key": ["c"], "columns": columns})
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        cells = f"null::varchar as _file, 1 as _position, ($1)::{found} as c"
        connection.execute(f"create table t as select {cells}", [value])
        rows = connection.execute(typed_select(table, COMPANY, "t", {"c": found})).fetchall()
    return rows[0][2], rows[0][3] is not None


UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
NOON = dt.datetime(2026, 6, 1, 4, 0)


@pytest.mark.parametrize(
    ("value", "kind", "options", "expected"),
    [
        ("１２３", "bigint", {}, 123),
        (" －７ ", "integer", {}, -7),
        ("12.0", "bigint", {}, 12),
        ("１．５", "decimal(12,2)", {}, Decimal("1.50")),
        ("1e3", "double", {}, 1000.0),
        ("2026/6/1 12:00", "timestamp", {"format": "%Y/%m/%d %H:%M"}, NOON),
        ("2026年06月01日", "date", {"format": "%Y年%m月%d日"}, dt.date(2026, 6, 1)),
        ("2026-06-01T04:00:00+0000", "timestamp", {"format": "%Y-%m-%dT%H:%M:%S%z"}, NOON),
        ("2026-06-01T12:00:00+08:00", "timestamp", {"zone": "UTC"}, NOON),
        ("２０２６-０６-０１", "date", {}, dt.date(2026, 6, 1)),
        ("1780286400", "timestamp", {"format": "epoch_s"}, NOON),
        ("1780286400000", "timestamp", {"format": "epoch_ms"}, NOON),
        ("1780250400000", "date", {"format": "epoch_ms"}, dt.date(2026, 6, 1)),
        ("46174.5", "timestamp", {"format": "excel"}, NOON),
        ("46174", "date", {"format": "excel"}, dt.date(2026, 6, 1)),
        ("2026-06-01 12:00:00", "timestamp", {"format": "excel"}, NOON),
        ('{"a": [1]}', "json", {}, '{"a": [1]}'),
    ],
)
def test_text_is_read_as_people_write_it(value, kind, options, expected):
    assert typed(value, kind, **options) == (expected, False)


@pytest.mark.parametrize(
    ("value", "kind", "options"),
    [
        ("1.7", "bigint", {}),
        ("0x1F", "bigint", {}),
        ("1_000", "bigint", {}),
        ("1,000", "bigint", {}),
        ("99999999999999999999", "bigint", {}),
        ("NaN", "double", {}),
        ("inf", "double", {}),
        ("1,5", "decimal(12,2)", {}),
        ("2026/13/01", "date", {"format": "%Y/%m/%d"}),
        ("yesterday", "timestamp", {"format": "epoch_ms"}),
        ("9" * 30, "timestamp", {"format": "epoch_ms"}),
        ("9" * 17, "timestamp", {"format": "epoch_s"}),
        ("99999999", "date", {"format": "excel"}),
        ("#REF!", "timestamp", {"format": "excel"}),
        ('{"a": ', "json", {}),
    ],
)
def test_what_is_not_of_the_type_is_refused_and_not_bent(value, kind, options):
    assert typed(value, kind, **options) == (None, True)


@pytest.mark.parametrize(
    ("value", "found", "kind", "options", "expected"),
    [
        (1780286400000, "BIGINT", "timestamp", {"format": "epoch_ms"}, NOON),
        (46174.5, "DOUBLE", "timestamp", {"format": "excel"}, NOON),
        (dt.datetime(2026, 6, 1, 12), "TIMESTAMP", "timestamp", {"format": "excel"}, NOON),
        ([1, 2], "INTEGER[]", "json", {}, "[1,2]"),
        ([1, 2], "INTEGER[]", "text", {}, "[1, 2]"),
        (18446744073709551615, "UBIGINT", "decimal(20,0)", {}, Decimal(18446744073709551615)),
        (UUID, "UUID", "text", {}, UUID),
    ],
)
def test_types_of_systems_become_those_of_the_contract(value, found, kind, options, expected):
    assert typed(value, kind, found, **options) == (expected, False)


@pytest.mark.parametrize(
    ("kind", "found", "fits"),
    [
        ("text", "UUID", True),
        ("text", "ENUM('a', 'b')", True),
        ("text", "TIME", True),
        ("text", "JSON", True),
        ("text", "VARCHAR[]", True),
        ("text", "DOUBLE", False),
        ("text", "BLOB", False),
        ("json", "STRUCT(a INTEGER)", True),
        ("json", "BIGINT", False),
        ("bigint", "UBIGINT", True),
        ("bigint", "DOUBLE", False),
        ("timestamp", "BIGINT", False),
    ],
)
def test_a_type_that_a_cast_would_bend_is_drift(kind, found, fits):
    table = Table.model_validate({"key": ["c"], "columns": {"c": {"type": kind, "required": True}}})
    assert check_schema("s.t", table, {"c": found}, Drift()).notes == (
        () if fits else (f"column c is {found} where the contract says {kind}",)
    )


@pytest.mark.parametrize(
    "column",
    [
        {"type": "text", "format": "%Y"},
        {"type": "date", "format": "%Q"},
        {"type": "date", "format": "Y"},
    ],
)
def test_a_format_without_meaning_is_refused(column):
    with pytest.raises(ValidationError):
        Column.model_validate(column)
