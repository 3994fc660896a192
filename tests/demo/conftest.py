"""A tiny hand-made world of the shape that the generator makes, for tests of the systems."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import psutil
import pytest

from customer360.demo.systems import company
from customer360.demo.systems.layout import Layout
from customer360.processes import is_alive

START, LAST = 59, 80

DDL = """
create schema meta; create schema crm; create schema shop; create schema loyalty;
create schema till; create schema wechat; create schema events; create schema callcentre;
create schema campaign; create schema aftersales; create schema voice;
create table meta.info as from (values
    ('size', $size), ('seed', $seed), ('start_day', '59'), ('start_date', '2026-03-01'),
    ('last_day', '80')) as info(key, value);
create table meta.tables(
    system varchar, table_name varchar, primary_key varchar[], mutable boolean, comment varchar);
create table meta.foreign_keys(
    system varchar, table_name varchar, columns varchar[], parent varchar,
    parent_columns varchar[]);
create table meta.incidents(
    system varchar, table_name varchar, day integer, kind varchar, detail json);
"""

# Deterministic, with versions, deletes and every type that the generator uses.
TABLES = {
    ("crm", "persons"): (
        ["person_no"], True,
        """
        select 'P' || i as person_no, '王小' || i as full_name, '13800' || 130000 + i
            as mobile, timestamp '2026-01-01' + interval (i) hour as created_at,
            timestamp '2026-01-01' + interval (i) hour as updated_at, null::varchar as wechat_id,
            (i // 3)::integer as _from_day, case when i % 7 = 0 then 62 + i % 5 end as _to_day
        from range(240) numbers(i)
        union all
        select 'P' || i, '王大' || i, null, timestamp '2026-01-01' + interval (i) hour,
            timestamp '2026-03-05', 'wx' || i, 62 + i % 5, case when i % 2 = 0 then 70 end
        from range(240) numbers(i) where i % 7 = 0 and i % 3 <> 0 and i // 3 < 60
        """,
    ),
    ("crm", "activities"): (
        ["activity_id"], False,
        """
        select i as activity_id, 'P' || (i % 60 * 3 + 1) as person_no, '电话' as kind,
            (i * 1.5)::decimal(12, 2) as fee, timestamp '2026-01-01' + interval (i) hour
            as happened_at, (i // 24)::integer as _from_day, null::integer as _to_day
        from range(1900) numbers(i)
        """,
    ),
    ("shop", "orders"): (
        ["order_no"], True,
        """
        select 'O' || i as order_no, case when i % 2 = 0 then 'paid' else 'new' end as status,
            i * 100 as paid_fen, (i % 90) / 2.0 as discount,
            json_object('gift', i % 2 = 0, 'note', '中文') as extra,
            date '2026-01-01' + (i // 10)::integer as ordered_on,
            timestamp '2026-01-01' + interval (i) hour as updated_at,
            (i // 10)::integer as _from_day, null::integer as _to_day
        from range(800) numbers(i)
        """,
    ),
    ("shop", "order_lines"): (
        ["order_no", "line_no"], False,
        """
        select 'O' || (i // 2) as order_no, (i % 2 + 1)::integer as line_no, 'SKU' || i % 9 as sku,
            (i // 20)::integer as _from_day, null::integer as _to_day
        from range(1600) numbers(i)
        """,
    ),
    ("loyalty", "members"): (
        ["member_no"], True,
        """
        select 'M' || i as member_no, i % 3 = 0 as is_gold, 1.5::double as rate,
            timestamp '2026-01-01 08:00:00' as joined_at, timestamp '2026-01-01' as updated_at,
            (i % 60)::integer as _from_day, null::integer as _to_day
        from range(200) numbers(i)
        """,
    ),
    ("till", "stores"): (
        ["store_code"], False,
        "select 'S' || i as store_code, '上海店,\"' || i || '\"' as name, 0 as _from_day, "
        "null::integer as _to_day from range(3) numbers(i)",
    ),
    ("till", "receipts"): (
        ["receipt_no"], False,
        """
        select 'S' || i % 3 as store_code, date '2026-01-01' + (i // 30)::integer as business_day,
            'R' || i as receipt_no, '收银员㐀' || i % 4 as cashier,
            (i * 0.25)::decimal(12, 2) as paid_yuan,
            'n' || i as note, (i // 30)::integer as _from_day, null::integer as _to_day
        from range(2400) numbers(i)
        """,
    ),
    ("wechat", "events"): (
        ["track_id"], False,
        """
        select i as track_id, 'track' as type, 'MPViewScreen' as event,
            'o' || i % 50 as distinct_id,
            null::varchar as original_id, 1767225600000 + i * 3600000 as time, 'wx1' as app_id,
            'o' || i % 50 as openid, case when i % 2 = 0 then 'u' || i % 50 end as unionid,
            case when i % 5 > 0 then json_object('page', '首页"' || i) else '{}'::json end
            as properties, (i // 24)::integer as _from_day, null::integer as _to_day
        from range(1900) numbers(i)
        """,
    ),
    ("events", "events"): (
        ["message_id"], False,
        """
        select md5(i::varchar) as message_id, case when i % 3 = 0 then 'page' else 'track' end
            as type, case when i % 3 > 0 then 'Product Viewed' end as event,
            'a' || i % 40 as anonymous_id, case when i % 4 = 0 then 'U' || i % 40 end as user_id,
            timestamp '2026-01-01' + interval (i) hour as timestamp,
            json_object('sku', 'SKU' || i % 9) as properties,
            (i // 24)::integer as _from_day, null::integer as _to_day
        from range(1900) numbers(i)
        """,
    ),
    ("callcentre", "tickets"): (
        ["ticket_id"], True,
        """
        select i as ticket_id, '空调不冷' as subject, 'open' as status,
            null::integer as satisfaction,
            timestamp '2026-01-01' + interval (i) hour as opened_at,
            timestamp '2026-01-01' + interval (i) hour as updated_at,
            (i // 24)::integer as _from_day, (i // 24 + 2)::integer as _to_day
        from range(1900) numbers(i)
        union all
        select i, '空调不冷', 'closed', (i % 5)::integer,
            timestamp '2026-01-01' + interval (i) hour,
            timestamp '2026-01-03' + interval (i) hour, (i // 24 + 2)::integer, null
        from range(1900) numbers(i)
        """,
    ),
    ("campaign", "sends"): (
        ["send_id"], False,
        """
        select i as send_id, 'sms' as channel,
            timestamp '2026-01-01' + interval (i) hour as sent_at,
            (i // 24)::integer as _from_day, null::integer as _to_day
        from range(1900) numbers(i)
        """,
    ),
    ("aftersales", "partners"): (
        ["partner_code"], False,
        "select 'A' || i as partner_code, '服务商' || i as name, 0 as _from_day, "
        "null::integer as _to_day from range(2) numbers(i)",
    ),
    ("aftersales", "visits"): (
        ["visit_no"], False,
        """
        select 'V' || i as visit_no, 'A' || i % 2 as partner_code, '2026/1/' || i % 28 + 1
            as visited_on, (i * 2)::decimal(10, 2) as labour_yuan,
            (i // 10)::integer as _from_day, null::integer as _to_day
        from range(800) numbers(i)
        """,
    ),
    ("voice", "reviews"): (
        ["review_id"], False,
        """
        select i as review_id, (i % 5 + 1)::integer as stars, '很好,"静音"' as body,
            json_array('a', i) as tags, (i // 10)::integer as _from_day, null::integer as _to_day
        from range(800) numbers(i)
        """,
    ),
}  # fmt: skip

INCIDENTS = [
    ("crm", "persons", 63, "column_added", {"column": "wechat_id", "type": "VARCHAR"}),
    ("shop", "orders", 64, "column_retyped",
     {"column": "paid_fen", "type": "VARCHAR", "expression": "\"paid_fen\"::varchar || '分'"}),
    ("shop", None, 61, "system_down", {}),
    ("callcentre", None, 62, "system_down", {}),
    ("till", "receipts", 61, "late_file", {"days": 2, "part": "S1"}),
    ("till", "receipts", 62, "double_file", {"part": "S2"}),
    ("till", "receipts", 65, "column_added", {"column": "note", "type": "VARCHAR"}),
    ("events", None, 63, "system_down", {}),
    ("wechat", "events", 64, "late_file", {"days": 1, "part": None}),
]  # fmt: skip


def write_tiny_world(path: Path, truth: Path, *, size: str, seed: int, progress: object) -> None:
    """Stand in for ``generate``: the same signature, 0.2 s."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(DDL.replace("$size", f"'{size}'").replace("$seed", f"'{seed}'"))
        for (system, name), (key, mutable, query) in TABLES.items():
            connection.execute(
                f"create table {system}.{name} as select * from ({query}) order by _from_day"
            )
            connection.execute(
                "insert into meta.tables values (?, ?, ?, ?, ?)",
                [system, name, key, mutable, f"{name} of {system}"],
            )
        connection.execute(
            "insert into meta.foreign_keys values "
            "('shop', 'order_lines', ['order_no'], 'orders', ['order_no'])"
        )
        for system, name, day, kind, detail in INCIDENTS:
            connection.execute(
                "insert into meta.incidents values (?, ?, ?, ?, ?)",
                [system, name, day, kind, json.dumps(detail)],
            )
    with duckdb.connect(str(truth)) as connection:
        connection.execute(f"create table persons as select {seed} + i as id from range(9) r(i)")


CHILD = """
    import importlib.util, pathlib, sys
    import customer360.demo.world as world
    from customer360.demo.systems import company
    from customer360.demo.systems.layout import Layout
    spec = importlib.util.spec_from_file_location("tiny", sys.argv[1])
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    world.generate = tiny.write_tiny_world
    def tell(text):
        print(text, flush=True)
        if text.startswith(sys.argv[4]):
            input()
    layout = Layout(pathlib.Path(sys.argv[2]))
    if sys.argv[5] == "start":
        company.start(layout, size="small", seed=1, port=int(sys.argv[3]), report=tell)
    else:
        company.advance(layout, 7, tell)
"""


def run_and_kill(layout: Layout, port: int, moment: str, command: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), __file__, str(layout.root), str(port),
         moment, command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(moment):
            break
    else:
        pytest.fail(f"the command ended before {moment!r}")
    child.send_signal(signal.SIGKILL)
    child.wait()


@pytest.fixture(scope="session")
def kill_at() -> Callable[[Layout, int, str, str], None]:
    """Run ``start`` or an ``advance`` of 7 days, and SIGKILL it when it reports a moment."""
    return run_and_kill


@pytest.fixture
def port() -> int:
    """A port that is free now."""
    return find_port()


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def processes() -> Callable[[Layout], list[str]]:
    """Command lines of the processes that work for a demo."""

    def find(layout: Layout) -> list[str]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                command = " ".join(process.cmdline())
                if str(layout.root) in command and is_alive(process):
                    found.append(command)
        return found

    return find


@pytest.fixture(scope="module")
def living(processes: Callable[[Layout], list[str]]) -> Iterator[Layout]:
    """A started demo of the tiny world that the tests of a module share."""
    import customer360.demo.world as world_package

    with tempfile.TemporaryDirectory(prefix="c360-") as folder:
        layout = Layout(Path(folder) / "systems")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(world_package, "generate", write_tiny_world, raising=False)
            company.start(layout, size="small", seed=1, port=find_port(), report=print)
        yield layout
        company.reset(layout)
        assert processes(layout) == []


@pytest.fixture
def tiny_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``demo start`` make the tiny world instead of a generated one."""
    import customer360.demo.world as world_package

    monkeypatch.setattr(world_package, "generate", write_tiny_world, raising=False)


@pytest.fixture
def layout() -> Iterator[Layout]:
    """A place for a demo.

    Not below pytest's own folders: another session closes those to the user of PostgreSQL.
    """
    with tempfile.TemporaryDirectory(prefix="c360-") as folder:
        yield Layout(Path(folder) / "systems")
