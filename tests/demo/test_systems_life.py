"""A demo lives: it starts, moves on, is seen by ordinary clients, stops and goes."""

import csv
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import psycopg
import pytest

from customer360.demo.systems import Connection, api, company, files, read_connections
from customer360.demo.systems.layout import Layout, load_secrets, read_state
from customer360.exceptions import DemoError

CLIENT = httpx.Client(trust_env=False, verify=False, timeout=30)


def silent(text: str) -> None:
    """Nobody listens."""


def hashes(layout: Layout) -> dict[str, dict[str, str]]:
    return company.content_hashes(layout, company.whole(layout))


@pytest.fixture(scope="module")
def diary(living: Layout) -> dict[str, Any]:
    """What was seen of the demo at its start and on each of seven single days."""
    state = company.whole(living)
    seen = {"hashes": hashes(living), "rows": company.count_rows(living, state), "nights": []}
    for _ in range(7):
        before = set(living.files.rglob("*.*"))
        company.advance(living, 1, silent)
        came = set(living.files.rglob("*.*")) - before
        seen["nights"].append(
            {
                "shop_refuses": refuses(read_connections(living)["shop"]),
                "callcentre": get(read_connections(living)["callcentre"], "tickets").status_code,
                "files": sorted(path.name for path in came),
            }
        )
    return seen


@pytest.fixture(autouse=True)
def _lived(diary: dict[str, Any]) -> None:
    """All tests here look at the demo after its seven days."""


def refuses(connection: Connection) -> bool:
    try:
        psycopg.connect(connection.url).close()
    except psycopg.OperationalError:
        return True
    return False


def get(connection: Connection, path: str, **parameters: object) -> httpx.Response:
    return CLIENT.get(
        f"{connection.url}/{path}",
        params=parameters,
        headers={"Authorization": f"Bearer {connection.token}"},
    )


def test_same_seed_and_a_jump_of_seven_days_that_was_killed_twice_end_in_the_same_content(
    living: Layout,
    diary: dict[str, Any],
    layout: Layout,
    tiny_world: None,
    port: int,
    kill_at: Callable[[Layout, int, str, str], None],
) -> None:
    company.start(layout, size="small", seed=1, port=port, report=silent)
    try:
        assert hashes(layout) == diary["hashes"]
        kill_at(layout, port, "2026-03-03", "advance")
        kill_at(layout, port, "databases are up to date", "advance")
        company.advance(layout, 7, silent)
        mine, theirs = hashes(layout), hashes(living)
        assert mine == theirs
        assert mine != diary["hashes"]
        assert rows(layout) == rows(living)
    finally:
        company.reset(layout)
    assert not layout.root.exists()


def rows(layout: Layout) -> dict[str, dict[str, int]]:
    return company.count_rows(layout, company.whole(layout))


def test_database_is_read_with_keys_comments_and_types(living: Layout) -> None:
    with psycopg.connect(read_connections(living)["shop"].url) as connection:
        total, kind = connection.execute(
            "select count(*), min(pg_typeof(extra)::text) from orders"
        ).fetchone()
        assert (total, kind) == (670, "jsonb")
        orphans = connection.execute(
            "select count(*) from order_lines left join orders using (order_no) "
            "where orders.order_no is null"
        ).fetchone()
        assert orphans == (0,)
        constraints = connection.execute(
            "select contype::text, count(*) from pg_constraint where contype in ('p', 'f') "
            "and connamespace = 'public'::regnamespace group by 1 order by 1"
        ).fetchall()
        assert constraints == [("f", 1), ("p", 2)]
        assert connection.execute("select obj_description('orders'::regclass)").fetchone() == (
            "orders of shop",
        )


def test_reader_cannot_write_and_does_not_see_our_mark(living: Layout) -> None:
    with psycopg.connect(read_connections(living)["crm"].url, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("delete from persons")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from customer360_demo.state")


def test_days_insert_update_and_delete_rows(living: Layout, diary: dict[str, Any]) -> None:
    before, after = diary["rows"], rows(living)
    assert after["crm"]["activities"] == before["crm"]["activities"] + 7 * 24
    with psycopg.connect(read_connections(living)["crm"].url) as connection:
        one = connection.execute(
            "select full_name, wechat_id from persons where person_no = 'P7'"
        ).fetchone()
        # P7 was renamed on day 64, after the column came; P14 ended on day 66 for good.
        assert one == ("王大7", "wx7")
        gone = connection.execute("select count(*) from persons where person_no = 'P21'").fetchone()
        assert gone == (0,)


def test_careless_releases_add_and_retype_columns(living: Layout) -> None:
    with psycopg.connect(read_connections(living)["shop"].url) as connection:
        kinds = dict(
            connection.execute(
                "select column_name, data_type from information_schema.columns "
                "where table_name = 'orders'"
            ).fetchall()
        )
        assert kinds["paid_fen"] == "text"
        assert connection.execute(
            "select paid_fen from orders where order_no in ('O3', 'O660') order by 1"
        ).fetchall() == [("300分",), ("66000分",)]
    headers = {}
    for path in sorted((living.files / "till" / "S0").glob("receipts_S0_202603*.csv")):
        headers[path.name] = path.read_bytes().decode("gb18030").split("\r\n", 1)[0]
    assert not headers["receipts_S0_20260306.csv"].endswith("note")
    assert headers["receipts_S0_20260307.csv"].endswith("note")


def test_a_system_that_is_down_refuses_for_a_day(living: Layout, diary: dict[str, Any]) -> None:
    nights = diary["nights"]
    assert [night["shop_refuses"] for night in nights] == [False, True] + [False] * 5
    assert [night["callcentre"] for night in nights] == [200, 200, 503, 200, 200, 200, 200]


def test_files_come_late_twice_and_after_a_day_of_silence(
    living: Layout, diary: dict[str, Any]
) -> None:
    nights = [night["files"] for night in diary["nights"]]
    assert "receipts_S1_20260303.csv" not in nights[1]
    assert "receipts_S1_20260303.csv" in nights[3]
    assert "receipts_S2_20260304.csv" in nights[2]
    assert "receipts_S2_20260304_1.csv" in nights[3]
    assert [name for name in nights[3] if name.startswith("events_")] == ["events_20260305.jsonl"]
    silent = [name for name in nights[3] + nights[4] if name == "events_20260305.jsonl"]
    assert len(silent) == 2  # WeChat's of the day, and the web's of the silent day, a day later


def test_till_files_are_gb18030_csv(living: Layout) -> None:
    path = next((living.files / "till" / "S1").glob("receipts_S1_202601.csv"))
    with path.open(encoding="gb18030", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 310
    assert rows[0]["cashier"] == "收银员㐀1"
    with pytest.raises(UnicodeDecodeError):
        path.read_text(encoding="utf-8")
    with (living.files / "till" / "stores_202601.csv").open(encoding="gb18030") as handle:
        assert next(csv.DictReader(handle))["name"] == '上海店,"0"'


def test_wechat_and_web_files_have_their_spec_shapes(living: Layout) -> None:
    path = living.files / "wechat" / "events_202601.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines[0]["identities"] == {"$identity_mp_openid": "o0", "$identity_mp_unionid": "u0"}
    assert lines[1]["properties"] == {"$app_id": "wx1", "page": '首页"1'}
    assert lines[5]["properties"] == {"$app_id": "wx1"}
    assert "original_id" not in lines[0]
    path = living.files / "events" / "events_202601.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines[1] == {
        "messageId": "c4ca4238a0b923820dcc509a6f75849b",
        "type": "track",
        "event": "Product Viewed",
        "anonymousId": "a1",
        "timestamp": "2026-01-01T01:00:00.000Z",
        "properties": {"sku": "SKU1"},
    }


def test_after_sales_books_and_voice_documents_open(living: Layout) -> None:
    book = openpyxl.load_workbook(next((living.files / "aftersales" / "A1").glob("visits_*until*")))
    rows = list(book["visits"].iter_rows(values_only=True))
    assert rows[0] == ("visit_no", "partner_code", "visited_on", "labour_yuan")
    assert rows[1] == ("V1", "A1", "2026/1/2", 2)
    assert len(rows) == 301
    text = (living.files / "voice" / "reviews_202602.json").read_text(encoding="utf-8")
    assert json.loads(text)[0]["body"] == '很好,"静音"'


def test_sheets_end_where_excel_ends(
    living: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "EXCEL_ROWS", 101)
    with company.open_world(living) as world:
        drop = files.Drop(world.table("aftersales", "visits"), "x", 0, 59, only="A0")
        parts = [
            (path, rows, len(list(openpyxl.load_workbook((tmp_path / "file").open("rb")).active)))
            for path, rows in files.write_excel(world, drop, tmp_path)
        ]
    assert [part[1:] for part in parts] == [(100, 101)] * 3
    assert parts[2][0] == "aftersales/A0/visits_A0_x_part3.xlsx"


def test_call_centre_pages_and_cursors_agree(living: Layout) -> None:
    centre = read_connections(living)["callcentre"]
    total = api.count_rows(living, "callcentre")["tickets"]
    by_page, page = [], 1
    while True:
        body = get(centre, "tickets", page=page, per_page=500).json()
        by_page += body["data"]
        if page >= body["total_pages"]:
            break
        page += 1
    by_cursor, cursor = [], {}
    while True:
        body = get(centre, "tickets", per_page=700, **cursor).json()
        by_cursor += body["data"]
        if not body["has_more"]:
            break
        cursor = {"cursor": body["next_cursor"]}
    assert by_page == by_cursor
    assert len(by_page) == total == body_total(centre)
    assert len({ticket["ticket_id"] for ticket in by_page}) == total
    assert by_page[0]["opened_at"] == "2026-01-01T00:00:00+08:00"
    changed = [ticket["updated_at"] for ticket in by_page]
    assert changed == sorted(changed)


def body_total(centre: Connection) -> int:
    return int(get(centre, "tickets", page=1).json()["total"])


def test_updated_since_gives_what_changed_and_a_cursor_outlives_a_day(living: Layout) -> None:
    centre = read_connections(living)["callcentre"]
    everything = get(centre, "tickets", page=1, per_page=1000).json()["data"]
    everything += get(centre, "tickets", page=2, per_page=1000).json()["data"]
    border = everything[1200]["updated_at"]
    since = get(centre, "tickets", page=1, per_page=1000, updated_since=border).json()
    assert since["data"] == [row for row in everything if row["updated_at"] >= border]
    utc = border.replace("+08:00", "Z")
    later = get(centre, "tickets", page=1, updated_since=utc).json()
    assert later["total"] < since["total"]
    # A cursor of yesterday's file: the row after the same last row comes next.
    body = get(centre, "tickets", per_page=1000).json()
    with company.open_world(living) as world:
        api.build(living, world, company.whole(living).day)
    following = get(centre, "tickets", cursor=body["next_cursor"]).json()["data"]
    assert following[0] == everything[1000]


@pytest.mark.parametrize(
    ("system", "path", "parameters", "meant"),
    [
        ("callcentre", "tickets", {"limit": 5}, "use per_page"),
        ("callcentre", "tickets", {"after": "x"}, "use cursor or page"),
        ("callcentre", "tickets", {"since": "2026-01-01"}, "use updated_since"),
        ("callcentre", "tickets/7", {"fields": "status"}, "none here"),
        ("callcentre", "tickets", {"page": 1, "cursor": "x"}, "exclude each other"),
        ("campaign", "sends", {"per_page": 5}, "use limit"),
        ("campaign", "sends", {"page": 2}, "use after"),
        ("campaign", "sends", {"colour": "red"}, "there are after, limit, updated_since"),
    ],
)
def test_a_parameter_that_would_be_ignored_is_refused(
    living: Layout, system: str, path: str, parameters: dict[str, object], meant: str
) -> None:
    answer = get(read_connections(living)[system], path, **parameters)
    assert answer.status_code == 400
    assert meant in answer.json()["detail"]


def test_campaign_tool_links_its_pages_and_limits_the_rate(living: Layout) -> None:
    tool = read_connections(living)["campaign"]
    answer = get(tool, "sends", limit=1000)
    rows = answer.json()["items"]
    while "next" in answer.links:
        answer = CLIENT.get(
            answer.links["next"]["url"],
            headers={"Authorization": f"Bearer {tool.token}"},
        )
        rows += answer.json()["items"]
    assert [row["send_id"] for row in rows] == list(range(67 * 24))
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: get(tool, "sends", limit=1), range(200)))
    refused = [each for each in statuses if each.status_code == 429]
    assert refused
    assert all(int(each.headers["Retry-After"]) >= 1 for each in refused)


def test_tokens_are_needed_and_kept_to_the_owner(living: Layout) -> None:
    connections = read_connections(living)
    url = connections["callcentre"].url + "/tickets"
    assert CLIENT.get(url).status_code == 401
    wrong = Connection("x", "http", connections["callcentre"].url, "x", "")
    assert get(wrong, "tickets").status_code == 401
    for path in (living.connections, living.secrets, living.state):
        assert path.stat().st_mode & 0o077 == 0


def test_faults_strike_when_they_are_switched_on(living: Layout) -> None:
    centre = read_connections(living)["callcentre"]
    admin = {"Authorization": f"Bearer {load_secrets(living)['admin']}"}
    url = centre.url.replace("/callcentre/v1", "/admin/faults")

    def order(kind: str, **more: object) -> None:
        reply = CLIENT.post(url, json={"system": "callcentre", "kind": kind} | more, headers=admin)
        assert reply.status_code == 200, reply.text

    order("error", after=1)
    assert [get(centre, "tickets").status_code for _ in range(3)] == [200, 500, 200]
    order("reset")
    with pytest.raises(httpx.ReadError):
        get(centre, "tickets")
    order("wrong-length")
    with pytest.raises(httpx.RemoteProtocolError):
        get(centre, "tickets")
    order("half")
    with pytest.raises(json.JSONDecodeError):
        get(centre, "tickets").json()
    cursor = get(centre, "tickets", per_page=10).json()["next_cursor"]
    order("repeated-cursor")
    assert get(centre, "tickets", per_page=10, cursor=cursor).json()["next_cursor"] == cursor
    assert get(centre, "tickets", per_page=10, cursor=cursor).json()["next_cursor"] != cursor
    pages = [get(centre, "tickets", per_page=10, page=page).json()["data"] for page in (1, 2)]
    order("repeated-cursor")
    # A first page has nothing to repeat: the fault waits for the second.
    assert get(centre, "tickets", per_page=10, page=1).json()["data"] == pages[0]
    broken = get(centre, "tickets", per_page=10, page=2).json()
    assert (broken["page"], broken["data"]) == (2, pages[0])
    assert get(centre, "tickets", per_page=10, page=2).json()["data"] == pages[1]
    order("slow", seconds=0.3)
    assert get(centre, "tickets").elapsed.total_seconds() >= 0.3
    order("error", times=0)
    assert get(centre, "tickets").status_code == get(centre, "tickets").status_code == 500
    assert CLIENT.delete(url, headers=admin).json() == []
    assert get(centre, "tickets").status_code == 200


def test_webhooks_with_the_same_key_count_once(living: Layout) -> None:
    hooks = read_connections(living)["hooks"]
    headers = {"Authorization": f"Bearer {hooks.token}", "Idempotency-Key": "one"}
    replies = [
        CLIENT.post(f"{hooks.url}/alerts", json={"a": 1}, headers=headers).json() for _ in range(2)
    ]
    assert [reply["duplicate"] for reply in replies] == [False, True]
    admin = {"Authorization": f"Bearer {load_secrets(living)['admin']}"}
    kept = CLIENT.get(f"{hooks.url}/alerts", headers=admin).json()
    assert kept == [{"idempotency_key": "one", "body": '{"a":1}'}]


def test_stop_leaves_no_process_and_start_brings_the_same_back(
    living: Layout, processes: Callable[[Layout], list[str]]
) -> None:
    before = hashes(living)
    company.stop(living)
    assert processes(living) == []
    company.start(living, report=silent)
    assert hashes(living) == before
    assert get(read_connections(living)["callcentre"], "tickets").status_code == 200


def test_another_size_or_seed_beside_it_is_refused(living: Layout) -> None:
    with pytest.raises(DemoError, match=r"already there.*reset"):
        company.start(living, seed=2, report=silent)


def test_the_life_ends_where_the_world_ends(living: Layout) -> None:
    with pytest.raises(DemoError, match="14 more days"):
        company.advance(living, 15, silent)
    state = read_state(living)
    assert state is not None
    assert state.advancing_to is None
