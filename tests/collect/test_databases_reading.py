"""What every database connector does, on a real PostgreSQL and a real MariaDB."""

import datetime as dt

import pytest

from customer360 import landing, raw
from customer360.config import load_config
from customer360.exceptions import SchemaDriftError, SourceError, SourceUnavailableError
from customer360.sources import databases, open_session
from customer360.warehouse import connect

DAY = dt.date(2026, 5, 5)
ORDERS = {"id": "bigint", "body": "text", "changed_at": "timestamp"}


def ingest(shop, day=DAY):
    return list(landing.extract_source(shop.settings, load_config(shop.settings), "shop", day))


def load(shop, day=DAY):
    return raw.load(shop.settings, load_config(shop.settings), day, "run")["shop"]


def query(shop, sql):
    with connect(shop.settings, shop.settings.raw_path, read_only=True) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def orders(shop):
    shop.run(
        "create table orders (id bigint primary key, body varchar(50), changed_at timestamp null)"
        if shop.server.format == "postgres"
        else "create table orders (id bigint primary key, body varchar(50), changed_at datetime)",
        "insert into orders values (1, 'first', '2026-05-01 10:00:00'), "
        "(2, 'before midnight', '2026-05-05 23:59:59'), (3, 'after', '2026-05-06 00:00:00'), "
        "(4, 'nobody knows when', null)",
    )
    shop.declare("orders", ORDERS, ["id"], cursor={"column": "changed_at", "look_back_days": 1})
    return shop


def test_a_window_is_in_the_clock_of_the_source(orders):
    ((batch, _),) = ingest(orders)
    assert (batch.rows, batch.cursor_to) == (3, "2026-05-05T16:00:00")
    totals = load(orders)
    assert (totals["read"], totals["quarantined"]) == (3, 1)
    assert query(orders, "select reason from meta.quarantine") == [
        ("changed_at is empty and is required",)
    ]
    orders.run(
        "insert into orders values (5, 'late', '2026-05-05 00:00:00'), "
        "(6, 'too late', '2026-05-04 23:59:59')"
    )
    ((batch, _),) = ingest(orders, DAY + dt.timedelta(days=1))
    load(orders, DAY + dt.timedelta(days=1))
    assert query(orders, "select id from shop.orders order by 1") == [(1,), (2,), (3,), (5,)]


def test_all_tables_are_read_at_one_moment(shop):
    shop.run(
        "create table accounts (id bigint primary key, credit bigint)",
        "create table bookings (id bigint primary key, credit bigint)",
        "insert into accounts values (1, 100)",
    )
    for name in ("accounts", "bookings"):
        shop.declare(name, {"id": "bigint", "credit": "bigint"}, ["id"])
    config = load_config(shop.settings)
    session = open_session(shop.settings, "shop", config.sources.sources["shop"])
    counted = []
    for name, table in config.sources.sources["shop"].tables.items():
        session.columns(name, table)
        batch = landing._extract_table(shop.settings, config, session, "shop", name, DAY)[0]
        counted.append(batch.rows)
        shop.run("insert into bookings values (1, 100)") if name == "accounts" else None
    session.close()
    assert counted == [1, 0]


def test_a_sweep_finds_what_was_deleted(orders):
    orders.tables["orders"]["deletes"] = {"every_days": 2}
    orders.company.write()
    ingest(orders)
    orders.run("delete from orders where id = 1")
    for days in (1, 2):
        ((batch, _),) = ingest(orders, DAY + dt.timedelta(days=days))
        assert batch.is_sweep == (days == 2)
    load(orders)
    assert query(orders, "select id, _as_of from shop.orders where _is_deleted") == [
        (1, DAY + dt.timedelta(days=2))
    ]


def test_a_retyped_column_is_seen_before_anything_is_read(orders):
    orders.run("alter table orders add extra varchar(5)", "alter table orders drop column body")
    with pytest.raises(SchemaDriftError, match=r"body is gone.*new there: extra"):
        ingest(orders)
    assert landing.batches(orders.settings, "shop") == []


def test_names_of_the_source_are_names_and_never_sql(shop):
    name = "a\"b`c'; drop table x; --"
    if shop.server.format == "postgres":
        quoted = '"' + name.replace('"', '""') + '"'
    else:
        quoted = "`" + name.replace("`", "``") + "`"
    shop.run(
        f"create table {quoted} (id bigint primary key, {quoted} varchar(9))",
        f"insert into {quoted} values (1, 'kept')",
    )
    shop.declare("odd", {"id": "bigint", name: "text"}, ["id"], relation=name)
    ((batch, _),) = ingest(shop)
    assert batch.rows == 1


def test_a_view_is_read_and_a_missing_table_is_named(orders):
    orders.run("create view seen as select id, body, changed_at from orders where id < 3")
    orders.tables["orders"]["relation"] = "seen"
    orders.company.write()
    assert ingest(orders)[0][0].rows == 2
    orders.tables["orders"]["relation"] = "nowhere"
    orders.company.write()
    with pytest.raises(
        SourceError, match=r"shop.orders: .* no table or view nowhere .*grant select"
    ):
        ingest(orders)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(landing, "BACK_OFF_SECONDS", 0.01)
    monkeypatch.setattr(databases, "CLOSE_SECONDS", 1)


def test_a_server_that_stands_still_is_given_up_and_nothing_moves(orders, impatient):
    ingest(orders)
    orders.connect(extra={"read_timeout": 1, "connect_timeout": 1})
    orders.run("insert into orders values (9, 'new', '2026-05-06 10:00:00')")
    with (
        orders.server.paused(),
        pytest.raises(SourceUnavailableError, match="cannot be reached|sent nothing") as error,
    ):
        ingest(orders, DAY + dt.timedelta(days=1))
    assert orders.server.connection()["password"] not in str(error.value)
    assert len(landing.batches(orders.settings, "shop")) == 1
    ((batch, _),) = ingest(orders, DAY + dt.timedelta(days=1))
    assert batch.cursor_from == "2026-05-04T16:00:00"


def test_a_server_that_stops_while_it_is_read_is_cut_off_and_read_again(orders, impatient):
    orders.connect(extra={"read_timeout": 1, "connect_timeout": 1})
    config = load_config(orders.settings)
    declared = config.sources.sources["shop"]
    session = open_session(orders.settings, "shop", declared)
    try:
        with orders.server.paused(), pytest.raises(SourceUnavailableError, match="sent nothing"):
            landing._extract_table(orders.settings, config, session, "shop", "orders", DAY)
    finally:
        session.close()
    assert landing.batches(orders.settings, "shop") == []
    assert ingest(orders)[0][0].rows == 3


def test_a_wrong_password_is_said_and_never_shown(orders):
    orders.connect(password="geheim'es \"Wort")
    with pytest.raises(SourceError, match="refuses") as error:
        ingest(orders)
    assert "geheim" not in str(error.value)
    assert error.value.__cause__ is None
