"""Rows to a table of a real PostgreSQL: merged once, and only where nobody else has written."""

import datetime as dt
import json

import psycopg
import pytest
import yaml

from customer360.activation import outbox, sending, stops
from customer360.activation.receivers.postgres import PostgresTable
from customer360.config import load_config
from customer360.exceptions import DeliveryError, ReceiverUnavailableError
from tests.publish.company import DAY, open_state, publish_tables

NEXT = DAY + dt.timedelta(days=1)
INFO = {"tables": {"segment_members": {"key": ["segment", "customer_id"]}}}
PURPOSES = {"care": {"description": "Service", "basis": "contract"}}
COLUMNS = {
    "score": "7::bigint", "share": "0.25::double", "money": "12.30::decimal(12,2)",
    "is_new": "true", "on_day": "date '2026-01-31'", "at": "timestamp '2026-01-31 01:02:03'",
}  # fmt: skip


def members(rows: dict[str, int]) -> str:
    rest = ", ".join(f"{sql} as {name}" for name, sql in COLUMNS.items() if name != "score")
    typed = f"select null::varchar as customer_id, null::varchar as segment, 0 as score, {rest} where false"  # noqa: E501, one query
    return " union all ".join(
        [typed, *(f"select '{who}', 'vip', {score}, {rest}" for who, score in rows.items())]
    )


class Desk:
    """A company with one destination, a table ``desk.members``."""

    def __init__(self, company, server, kind: str) -> None:
        self.company, self.server, self.kind = company, server, kind
        self.settings = company.settings
        self.engine = open_state(self.settings)
        self.table = "desk.members" if kind == "postgres" else "members"
        self.runs = 0
        data = self.settings.data_dir
        data.mkdir(parents=True, exist_ok=True)
        self.connections = data / "connections.json"
        self.connections.write_text(json.dumps({"desk": server.connection()}))
        self.declare()

    def declare(self, **changed) -> None:
        declared = {
            "title": "A desk", "owner": "sales", "kind": self.kind, "connection": "desk",
            "from": "segment_members", "table": self.table, "purpose": "care",
            "columns": dict.fromkeys(COLUMNS, "care"), **changed,
        }  # fmt: skip
        section = {"purposes": PURPOSES, "destinations": {"desk": declared}}
        path = self.company.root / "config" / "destinations.yml"
        path.write_text(yaml.safe_dump({"tiny": section}))

    def publish(self, rows, as_of=DAY) -> tuple:
        self.runs += 1
        run_id = f"run{self.runs}"
        tables = {"segment_members": members(rows)}
        return publish_tables(self.settings, run_id, as_of, INFO, **tables), as_of, run_id

    def deliver(self, published) -> sending.Delivered:
        return sending.deliver(
            self.settings, self.engine, load_config(self.settings), "desk", *published
        )

    def send(self, rows, as_of=DAY) -> sending.Delivered:
        return self.deliver(self.publish(rows, as_of))

    def ask(self, sql: str) -> list:
        if self.kind == "postgres":
            with psycopg.connect(self.server._server.owner_url("shop")) as connection:
                return connection.execute(sql).fetchall()
        text = sql.replace("'", "''").replace("from members", "from shop.members")
        found = self.server._duckdb.execute(f"select * from mysql_query('server', '{text}')")
        return [
            tuple(cell.decode() if isinstance(cell, bytes) else cell for cell in row)
            for row in found.fetchall()
        ]

    def held(self) -> dict:
        return dict(self.ask(f"select customer_id, score from {self.table} order by 1"))


@pytest.fixture(params=["postgres", "mysql"])
def desk(request, company) -> Desk:
    name = "postgres_server" if request.param == "postgres" else "mariadb_server"
    server = request.getfixturevalue(name)
    server.new_database()
    return Desk(company, server, request.param)


@pytest.fixture
def pg_desk(company, postgres_server) -> Desk:
    postgres_server.new_database()
    return Desk(company, postgres_server, "postgres")


def test_a_table_ends_as_the_segment_and_a_rerun_writes_nothing(desk):
    assert desk.send({"a": 1, "b": 2}).counts["added"] == 2
    assert desk.held() == {"a": 1, "b": 2}
    before = desk.ask(f"select max(written_at) from {desk.table}")
    assert desk.send({"a": 1, "b": 2}).status == "unchanged"
    assert desk.ask(f"select max(written_at) from {desk.table}") == before
    done = desk.send({"a": 9, "c": 3}, NEXT)
    assert done.counts == {"added": 1, "changed": 1, "removed": 1}
    assert desk.held() == {"a": 9, "c": 3}
    share, money, on_day = desk.ask(f"select share, money, on_day from {desk.table}")[0]
    assert (share, str(money), str(on_day)) == (0.25, "12.30", "2026-01-31")


def test_rows_that_others_own_are_never_touched(desk):
    desk.send({"a": 1, "b": 2})
    desk.server.run(
        *(["use shop"] if desk.kind == "mysql" else []),
        f"insert into {desk.table} (customer_id, segment, score, written_by) "
        "values ('x', 'vip', 100, 'Ann'), ('z', 'vip', 7, 'Ann')",
    )
    done = desk.send({"a": 1, "x": 5, "y": 6})
    assert (done.counts["added"], done.counts["removed"], done.failed) == (1, 1, 1)
    assert desk.held() == {"a": 1, "x": 100, "y": 6, "z": 7}
    assert done.reasons == {"a row with this key belongs to somebody else": 1}


def test_upsert_leaves_what_has_left_unless_nothing_allows_it_to_stay(desk):
    desk.declare(mode="upsert")
    desk.send({"a": 1, "b": 2, "c": 3})
    desk.send({"a": 1, "c": 3})
    assert desk.held() == {"a": 1, "b": 2, "c": 3}
    stops.suppress(desk.engine, ["c"], "erased", "asked for it")
    desk.send({"a": 1, "c": 3})
    assert desk.held() == {"a": 1, "b": 2}


def test_a_table_that_has_changed_is_left_alone_and_named(desk):
    desk.send({"a": 1})
    desk.server.run(
        *(["use shop"] if desk.kind == "mysql" else []),
        f"alter table {desk.table} drop column money",
    )
    with pytest.raises(DeliveryError, match="column money is not there"):
        desk.send({"a": 2})
    assert desk.held() == {"a": 1}


def test_a_transaction_that_was_cut_off_is_known_by_its_key(desk, monkeypatch):
    published = desk.publish({"a": 1})

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(outbox.Outbox, "answer", cut)
        with pytest.raises(KeyboardInterrupt):
            desk.deliver(published)
    assert desk.held() == {"a": 1}
    before = desk.ask(f"select max(written_at) from {desk.table}")
    assert desk.deliver(published).status == "unchanged"
    assert desk.ask(f"select max(written_at) from {desk.table}") == before


def test_a_server_that_is_not_there_costs_nothing(pg_desk):
    pg_desk.connections.write_text(
        json.dumps({"desk": pg_desk.server.connection(host="127.0.0.1", port=1)})
    )
    with pytest.raises(ReceiverUnavailableError, match="does not answer"):
        pg_desk.send({"a": 1})
    pg_desk.connections.write_text(json.dumps({"desk": pg_desk.server.connection()}))
    assert pg_desk.send({"a": 1}).counts["added"] == 1


def test_a_check_of_the_table_refuses_all_or_nothing(pg_desk):
    pg_desk.send({"a": 1})
    pg_desk.server.run("alter table desk.members add check (score < 50)")
    with pytest.raises(DeliveryError, match="a check of the table refuses a row"):
        pg_desk.send({"a": 2, "b": 99})
    assert pg_desk.held() == {"a": 1}
    pg_desk.server.run("alter table desk.members drop constraint members_score_check")
    assert pg_desk.send({"a": 2, "b": 99}).counts == {"added": 1, "changed": 1, "removed": 0}


def test_the_ledger_may_stand_in_postgresql(company, postgres_server, monkeypatch):
    postgres_server.new_database()
    url = postgres_server.url().replace("postgresql://", "postgresql+psycopg://")
    monkeypatch.setenv("CUSTOMER360_STATE_URL", url)
    desk = Desk(company, postgres_server, "postgres")
    assert desk.send({"a": 1, "b": 2}).counts["added"] == 2
    assert desk.send({"a": 9, "c": 3}, NEXT).counts == {"added": 1, "changed": 1, "removed": 1}
    with outbox.Outbox.open(desk.settings, desk.engine, "desk") as book:
        book.rebuild()
        rows = book.connection.execute("select customer_id, status from ledger order by 1")
        assert rows.fetchall() == [(name, "acknowledged") for name in "abc"]
    assert desk.send({"a": 9, "c": 3}, NEXT).status == "unchanged"


def test_many_rows_stand_in_parts_of_the_ledger_and_are_known_one_by_one(pg_desk, monkeypatch):
    monkeypatch.setattr(outbox, "BULK_ROWS", 2)
    pg_desk.send({"a": 1, "b": 2, "c": 3})
    pg_desk.server.run(
        "insert into desk.members (customer_id, segment, score, written_by) "
        "values ('x', 'vip', 100, 'Ann')"
    )
    done = pg_desk.send({"a": 9, "b": 8, "c": 3, "x": 5}, NEXT)
    assert (done.counts["changed"], done.failed) == (2, 1)
    for _ in range(3):  # as it stands, made anew, gathered into one part
        with outbox.Outbox.open(pg_desk.settings, pg_desk.engine, "desk") as book:
            rows = book.connection.execute(
                "select customer_id, status, received_hash = payload_hash from ledger order by 1"
            ).fetchall()
            assert rows == [(who, "acknowledged", True) for who in "abc"] + [("x", "failed", None)]
            monkeypatch.setattr(outbox, "MAX_SCATTER", 0)
            book.gather()
            book.rebuild()
    assert outbox.states(pg_desk.engine, "desk") == {"acknowledged": 3, "failed": 1}
    (row,) = outbox.rows(pg_desk.engine, "desk", "a", None, 10)
    assert (row["status"], row["change"], row["run_id"]) == ("acknowledged", "changed", "run2")
    before = pg_desk.ask("select max(written_at) from desk.members")
    assert pg_desk.send({"a": 9, "b": 8, "c": 3}, NEXT).status == "unchanged"
    assert pg_desk.ask("select max(written_at) from desk.members") == before


def test_a_key_that_somebody_writes_meanwhile_stays_theirs(pg_desk, monkeypatch):
    pg_desk.send({"a": 1})
    honest = PostgresTable._count

    def meanwhile(table, sql):
        if sql.startswith("insert") and "on conflict" not in sql:
            pg_desk.server.run(
                "insert into desk.members (customer_id, segment, score, written_by) "
                "values ('b', 'vip', 100, 'Ann') on conflict do nothing"
            )
            sql = sql[: sql.index("and not exists")]  # as a server sees that does not see it yet
        return honest(table, sql)

    monkeypatch.setattr(PostgresTable, "_count", meanwhile)
    done = pg_desk.send({"a": 1, "b": 2, "c": 3})
    assert (done.counts["added"], done.failed) == (1, 1)
    assert pg_desk.held() == {"a": 1, "b": 100, "c": 3}
