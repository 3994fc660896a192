"""What only MariaDB has: unsigned numbers, tinyint(1), zero dates, TIMESTAMP beside DATETIME."""

import datetime as dt

from customer360 import landing, raw
from customer360.config import load_config
from customer360.warehouse import connect

DAY = dt.date(2026, 5, 5)


def ingest(shop):
    return list(landing.extract_source(shop.settings, load_config(shop.settings), "shop", DAY))


def load(shop):
    return raw.load(shop.settings, load_config(shop.settings), DAY, "run")["shop"]


def query(shop, sql):
    with connect(shop.settings, shop.settings.raw_path, read_only=True) as connection:
        return connection.execute(sql).fetchall()


TYPES = {
    "big": ("bigint unsigned", "decimal(20,0)"),
    "price": ("decimal(12, 2)", "decimal(12,2)"),
    "wide": ("decimal(60, 2)", "decimal(38,2)"),
    "flag": ("tinyint(1)", "boolean"),
    "local": ("datetime(6)", "timestamp"),
    "zoned": ("timestamp(6) null", "timestamp"),
    "on_day": ("date", "date"),
    "extra": ("json", "json"),
    "mood": ("enum('好', 'bad')", "text"),
    "bytes": ("varbinary(9)", "text"),
}


def declare(shop):
    columns = ", ".join(f"{name} {kinds[0]}" for name, kinds in TYPES.items())
    shop.run(f"create table things (thing bigint primary key, {columns})")
    contract = {name: kinds[1] for name, kinds in TYPES.items()}
    shop.declare("things", {"thing": "bigint", **contract}, ["thing"])


def test_every_type_arrives_exactly(mariadb_shop):
    declare(mariadb_shop)
    mariadb_shop.run(
        "insert into things values (1, 18446744073709551615, 1234567890.12, "
        "123456789012345678901234567890.12, 1, '2026-05-01 10:00:00.123456', "
        "'2026-05-01 10:00:00.123456', '2026-05-01', '{\"b\": [1, \"中\"]}', '好', x'00ff')",
        "insert into things(thing) values (2)",
    )
    ingest(mariadb_shop)
    assert load(mariadb_shop)["quarantined"] == 0
    names = ", ".join(f"{name}::varchar" for name in TYPES)
    assert query(mariadb_shop, f"select {names} from shop.things order by thing") == [
        (
            "18446744073709551615", "1234567890.12", "123456789012345678901234567890.12", "true",
            "2026-05-01 02:00:00.123456", "2026-05-01 05:00:00.123456", "2026-05-01",
            '{"b": [1, "中"]}', "好", "00FF",
        ),
        (None,) * len(TYPES),
    ]  # fmt: skip


def test_what_cannot_be_represented_is_refused_row_by_row(mariadb_shop):
    declare(mariadb_shop)
    mariadb_shop.run(
        "insert into things(thing, on_day) values (1, '0000-00-00'), (2, '2026-02-00')",
        "insert into things(thing, local) values (3, '0000-00-00'), (4, '9999-12-31')",
        "insert into things(thing, flag) values (5, 2), (6, 0)",
        "insert into things(thing, local) values (8, '2026-00-05'), (9, '2026-05-00 10:00:00')",
        "insert into things(thing, wide) values (7, 1e50)",
    )
    ingest(mariadb_shop)
    assert load(mariadb_shop)["quarantined"] == 7
    refused = query(
        mariadb_shop,
        "select (row_json->>'thing')::int, row_json->>column_name from meta.quarantine order by 1",
    )
    assert [row[0] for row in refused] == [1, 2, 3, 5, 7, 8, 9]
    assert refused[0][1] == "0000-00-00"


def test_a_zero_date_in_the_cursor_is_refused_and_not_passed_over(mariadb_shop):
    declare(mariadb_shop)
    mariadb_shop.tables["things"]["cursor"] = {"column": "local", "look_back_days": 0}
    mariadb_shop.tables["things"]["columns"]["local"]["required"] = True
    mariadb_shop.company.write()
    mariadb_shop.run(
        "insert into things(thing, local) values (1, '2026-05-05 23:00:00'), (2, '0000-00-00'), "
        "(3, '2026-05-06 01:00:00')"
    )
    ((batch, _),) = ingest(mariadb_shop)
    assert batch.rows == 2
    assert load(mariadb_shop)["quarantined"] == 1
