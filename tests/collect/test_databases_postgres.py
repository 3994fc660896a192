"""What only PostgreSQL has: its types, its privileges, its index scans."""

import datetime as dt

import pyarrow.parquet as pq
import pytest

from customer360 import landing, raw
from customer360.config import load_config
from customer360.exceptions import SourceError
from customer360.sources import databases
from customer360.warehouse import connect

DAY = dt.date(2026, 5, 5)


def ingest(shop, day=DAY):
    return list(landing.extract_source(shop.settings, load_config(shop.settings), "shop", day))


def load(shop, day=DAY):
    return raw.load(shop.settings, load_config(shop.settings), day, "run")["shop"]


def query(shop, sql):
    with connect(shop.settings, shop.settings.raw_path, read_only=True) as connection:
        return connection.execute(sql).fetchall()


TYPES = {
    "number": ("numeric(12, 2)", "decimal(12,2)"),
    "any_number": ("numeric", "decimal(38,10)"),
    "id": ("uuid", "text"),
    "zoned": ("timestamptz", "timestamp"),
    "local": ("timestamp", "timestamp"),
    "on_day": ("date", "date"),
    "extra": ("jsonb", "json"),
    "mood": ("mood", "text"),
    "tags": ("text[]", "json"),
    "bytes": ("bytea", "text"),
    "ratio": ("float8", "double"),
    "flag": ("boolean", "boolean"),
    "small": ("smallint", "integer"),
    "code": ("char(5)", "text"),
    "yen": ("price", "decimal(10,2)"),
}


@pytest.fixture
def types_shop(postgres_shop):
    columns = ", ".join(f"{name} {kinds[0]}" for name, kinds in TYPES.items())
    postgres_shop.run(
        "create type mood as enum ('好', 'bad')",
        "create domain price as numeric(10, 2) check (value >= 0)",
        f"create table things (thing bigint primary key, {columns})",
    )
    contract = {name: kinds[1] for name, kinds in TYPES.items()}
    postgres_shop.declare("things", {"thing": "bigint", **contract}, ["thing"])
    return postgres_shop


def test_every_type_arrives_exactly(types_shop):
    types_shop.run(
        "insert into things values (1, 1234567890.12, 12345678901234567890.0123456789, "
        "'6f3a1c1e-0000-4000-8000-00000000000a', '2026-05-01 10:00:00.123456+08', "
        "'2026-05-01 10:00:00.123456', '2026-05-01', '{\"b\": [1, \"中\"]}', '好', "
        "'{a,NULL,\"b c\"}', '\\x00ff', 0.1, true, -3, 'ab', 7.5)",
        "insert into things(thing) values (2)",
    )
    ingest(types_shop)
    assert load(types_shop)["quarantined"] == 0
    names = ", ".join(f"{name}::varchar" for name in TYPES)
    assert query(types_shop, f"select {names} from shop.things order by thing") == [
        (
            "1234567890.12", "12345678901234567890.0123456789",
            "6f3a1c1e-0000-4000-8000-00000000000a", "2026-05-01 02:00:00.123456",
            "2026-05-01 02:00:00.123456", "2026-05-01", '{"b": [1, "中"]}', "好",
            '["a",null,"b c"]', "\\x00ff", "0.1", "true", "-3", "ab", "7.50",
        ),
        (None,) * len(TYPES),
    ]  # fmt: skip


def test_what_cannot_be_represented_is_refused_row_by_row(types_shop):
    types_shop.run(
        "insert into things(thing, number) values (1, 'NaN'), (2, 0), (3, 1.5)",
        "insert into things(thing, local) values (4, '294276-12-31'), (5, 'infinity')",
        "insert into things(thing, zoned) values (6, '294276-12-31 00:00+00'), (7, '-infinity')",
        "insert into things(thing, any_number) values (8, 1e100), (9, 'Infinity')",
        "insert into things(thing, ratio) values (10, 'NaN'), (11, '-Infinity')",
        "insert into things(thing, on_day) values (12, '5874897-12-31'), (13, '4713-01-01 BC')",
    )
    ingest(types_shop)
    totals = load(types_shop)
    assert (totals["read"], totals["quarantined"]) == (13, 5)
    reasons = query(
        types_shop,
        "select (row_json->>'thing')::int, reason, row_json->>column_name from meta.quarantine "
        "order by 1",
    )
    assert [row[0] for row in reasons] == [1, 4, 6, 8, 9]
    assert reasons[0] == (1, "number is not a decimal(12,2)", "NaN")
    assert query(
        types_shop,
        "select thing, coalesce(number::varchar, local::varchar, zoned::varchar, ratio::varchar, "
        "on_day::varchar) from shop.things order by 1",
    ) == [
        (2, "0.00"), (3, "1.50"), (5, "infinity"), (7, "-infinity"), (10, "nan"), (11, "-inf"),
        (12, "5874897-12-31"), (13, "4713-01-01 (BC)"),
    ]  # fmt: skip


def test_a_cursor_that_is_in_no_window_is_refused_and_the_far_future_is_not_yet(types_shop):
    types_shop.tables["things"]["cursor"] = {"column": "local", "look_back_days": 0}
    types_shop.tables["things"]["columns"]["local"]["required"] = True
    types_shop.company.write()
    types_shop.run(
        "insert into things(thing, local) values (1, '2026-05-01'), (2, 'infinity'), "
        "(3, '-infinity'), (4, '294276-12-31'), (5, '2026-05-06 00:00:00')"
    )
    ((batch, _),) = ingest(types_shop)
    assert batch.rows == 3
    assert load(types_shop)["quarantined"] == 2
    assert query(types_shop, "select thing from shop.things") == [(1,)]


def test_only_a_whole_table_that_may_hold_what_cannot_be_seen_is_asked_again(
    types_shop, monkeypatch
):
    asked = []
    ask = databases.DatabaseSession._ask
    monkeypatch.setattr(
        databases.DatabaseSession, "_ask", lambda self, sql: (asked.append(sql), ask(self, sql))[1]
    )
    types_shop.tables["things"]["columns"].pop("any_number")
    types_shop.company.write()
    types_shop.run(
        "alter table things drop column any_number, drop column tags, drop column bytes",
        "insert into things(thing, number, local) values (1, 0.01, '2026-05-01')",
    )
    for column in ("tags", "bytes"):
        types_shop.tables["things"]["columns"].pop(column)
    types_shop.company.write()
    ingest(types_shop)
    assert not any("NaN" in sql for sql in asked)
    types_shop.run("insert into things(thing, number) values (2, 0), (3, 'NaN')")
    ingest(types_shop, DAY + dt.timedelta(days=1))
    assert any("NaN" in sql for sql in asked)
    assert load(types_shop, DAY + dt.timedelta(days=1))["quarantined"] == 1


def test_a_plain_table_keeps_its_types_in_landing(postgres_shop):
    postgres_shop.run(
        "create table orders (id bigint primary key, paid numeric(12, 2), u uuid)",
        "insert into orders select n, n / 4.0, gen_random_uuid() from generate_series(1, 5000) n",
    )
    postgres_shop.declare("orders", {"id": "bigint", "paid": "decimal(12,2)", "u": "text"}, ["id"])
    ((batch, _),) = ingest(postgres_shop)
    assert batch.columns == {"id": "BIGINT", "paid": "DECIMAL(12,2)", "u": "VARCHAR"}
    rows = pq.read_table(batch.folder(postgres_shop.settings) / "rows.parquet")
    assert sorted(rows.column("_position").to_pylist())[0] > 0
    assert len(set(rows.column("_position").to_pylist())) == 5000


def test_what_may_not_be_read_says_what_to_grant(postgres_shop):
    postgres_shop.run(
        "create schema sales",
        "create table sales.orders (id bigint primary key, secret text)",
        "drop role if exists poor",
        "create role poor login password 'geheim'",
    )
    postgres_shop.declare("orders", {"id": "bigint"}, ["id"], relation="sales.orders")
    postgres_shop.connect(login="poor", password="geheim")
    try:
        with pytest.raises(SourceError, match=r"grant usage on schema sales to poor; grant select"):
            ingest(postgres_shop)
        postgres_shop.run("grant usage on schema sales to poor")
        with pytest.raises(SourceError, match=r"grant select on sales.orders to poor"):
            ingest(postgres_shop)
        # A column that nobody declared need not be granted.
        postgres_shop.run("grant select (id) on sales.orders to poor")
        ((batch, _),) = ingest(postgres_shop)
        assert list(batch.columns) == ["id"]
    finally:
        postgres_shop.run("drop owned by poor", "drop role poor")
