"""A scripted web service that does everything that services do, read by the REST connector."""

import datetime as dt
import email.utils
import gzip
import itertools
import json
import logging
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import httpx
import pytest

from customer360.config import CompanySources, Table
from customer360.connections import Connection
from customer360.exceptions import ConfigError, Customer360Error, SourceError
from customer360.settings import load_settings
from customer360.sources import rest, web_service
from customer360.sources.relation import Reading
from customer360.sources.rest import RestSession
from customer360.sources.web_service import Patience, WebService

TOKEN = "s3cret-token"
END = dt.datetime(2026, 7, 1)


@dataclass
class Reply:
    """One answer, and how it is broken.

    Attributes:
        how: ``whole``; ``reset`` (no answer, RST); ``cut`` (promises more than it sends);
            ``half`` (half of it, which claims to be whole); ``silent`` (never answers); ``drip``
            (a byte now and then, for ever).
    """

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    how: str = "whole"


@dataclass
class Asked:
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    at: float


class Script:
    """A service that serves ``records`` and, at given requests, something else."""

    def __init__(self) -> None:
        self.records: list[Any] = [{"id": number, "name": f"王{number}"} for number in range(1, 24)]
        self.size = 5
        self.kind = "cursor"
        self.asked: list[Asked] = []
        self.faults: dict[int, Reply] = {}
        self.before: Callable[[int], None] = lambda number: None
        self.reply: Callable[[Asked], Reply] = self.page
        self.closing = threading.Event()
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                script.serve(self)

            def log_message(self, *arguments: object) -> None:
                """Silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def page(self, asked: Asked) -> Reply:
        """The page that was asked for, as an honest service of this ``kind`` answers."""
        given = asked.query.get("at", "")
        first = {"page": lambda: (int(given) - 1) * self.size}.get(
            self.kind, lambda: int(given.removeprefix("c") or 0)
        )()
        chosen = self.records[first : first + self.size]
        following = first + len(chosen)
        more = following < len(self.records)
        body: dict[str, Any] = {"data": {"rows": chosen}, "total": len(self.records)}
        headers = {}
        if self.kind == "cursor":
            body["paging"] = {"next": f"c{following}" if more else None}
        if self.kind == "link" and more:
            headers["Link"] = f'</x?at=0>; rel="prev", </v1/people?at=c{following}>; rel="next"'
        return Reply(body, headers=headers)

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urllib.parse.urlsplit(handler.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        asked = Asked(parts.path, query, dict(handler.headers), time.monotonic())
        self.asked.append(asked)
        number = len(self.asked)
        self.before(number)
        reply = self.faults.get(number) or self.reply(asked)
        if reply.how in ("half", "cut") and reply.body is None:
            reply.body = self.reply(asked).body
        self.send(handler, reply)

    def send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        connection = handler.connection
        if reply.how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            connection.close()
            return
        if reply.how == "silent":
            self.closing.wait(20)
            handler.close_connection = True
            return
        body = (
            reply.body
            if isinstance(reply.body, bytes)
            else json.dumps(reply.body, ensure_ascii=False).encode()
        )
        if reply.how == "half":
            body = body[: len(body) // 2]
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        length = len(body) + (100 if reply.how in ("cut", "drip") else 0)
        if reply.status not in (204, 304):
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(body)
        if reply.how == "drip":
            while not self.closing.wait(0.05):
                try:
                    handler.wfile.write(b" ")
                except OSError:
                    break
        if reply.how in ("cut", "drip"):
            handler.close_connection = True


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    patience = Patience(first_wait=0.001, longest_wait=0.01, read_seconds=0.4, answer_seconds=0.6)
    monkeypatch.setattr(web_service, "PATIENCE", patience)
    made = Script()
    yield made
    made.close()


PAGINATION: dict[str, dict[str, Any]] = {
    "cursor": {"kind": "cursor", "parameter": "at", "next": "paging.next"},
    "page": {"kind": "page", "parameter": "at"},
    "link": {"kind": "link"},
    "none": {"kind": "none"},
}


def declare(pagination: dict[str, Any], **changes: Any) -> Table:
    request = {
        "path": "people",
        "records": "data.rows",
        "pagination": {"size": 5, **pagination},
        **changes.pop("request", {}),
    }
    columns = {"id": {"type": "bigint", "required": True}, "name": {"type": "text"}}
    return Table.model_validate({"request": request, "key": ["id"], "columns": columns, **changes})


class Reader:
    """Reads the scripted service as landing would: a connector for each attempt."""

    def __init__(self, script: Script, tmp_path: Path) -> None:
        self.script = script
        self.tmp_path = tmp_path
        self.connection = Connection(
            "svc", "http", host=f"{script.url}/v1", password=TOKEN, extra={}
        )
        self.requests_per_second: float | None = None

    def __call__(self, table: Table, start: dt.datetime | None = None) -> list[Any]:
        reading = make_reading(table, self.tmp_path, start)
        session = RestSession(WebService(self.connection, self.requests_per_second))
        try:
            with duckdb.connect() as connection:
                relation = session.relation(connection, reading)
                assert relation.rejects_sql
                self.rejects = connection.execute(relation.rejects_sql).fetchall()
                names = ", ".join(f'"{column}"' for column in table.columns)
                return connection.execute(
                    f"select {names} from ({relation.sql}) order by _position"
                ).fetchall()
        finally:
            session.close()

    def ids(self, table: Table) -> list[int]:
        return [int(row[0]) for row in self(table)]


def make_reading(table: Table, tmp_path: Path, start: dt.datetime | None = None) -> Reading:
    company = CompanySources.model_validate(
        {
            "title": "x",
            "currency": "CNY",
            "time_zone": "Asia/Shanghai",
            "first_day": "2026-01-01",
            "sources": {
                "svc": {
                    "title": "x",
                    "owner": "x",
                    "stage": "basic",
                    "format": "rest",
                    "connection": "svc",
                    "tables": {"people": table},
                }
            },
        }
    )
    return Reading(
        settings=load_settings("tiny"),
        company=company,
        source_name="svc",
        source=company.sources["svc"],
        table_name="people",
        table=table,
        as_of=dt.date(2026, 6, 30),
        start=start,
        end=END,
        taken=(),
        is_sweep=False,
        workspace=tmp_path / "people" / ".reading",
    )


@pytest.fixture
def read(script: Script, tmp_path: Path) -> Reader:
    return Reader(script, tmp_path)


ALL = list(range(1, 24))


@pytest.mark.parametrize("kind", ["cursor", "page", "link"])
def test_every_pagination_reads_each_record_once_in_order(
    script: Script, read: Reader, kind: str
) -> None:
    script.kind = kind
    assert read.ids(declare(PAGINATION[kind])) == ALL
    # Without a promise, only an empty page ends a listing by page numbers.
    assert len(script.asked) == {"cursor": 5, "link": 5, "page": 6}[kind]
    assert {asked.path for asked in script.asked} == {"/v1/people"}


def test_one_answer_may_be_the_whole_listing(script: Script, read: Reader) -> None:
    script.reply = lambda asked: Reply(script.records)
    assert read.ids(declare(PAGINATION["none"], request={"records": ""})) == ALL
    assert len(script.asked) == 1


@pytest.mark.parametrize("promise", [{"is_short_last": True}, {"total": "total"}])
def test_a_promise_of_the_service_saves_the_empty_page(
    script: Script, read: Reader, promise: dict[str, Any]
) -> None:
    script.kind = "page"
    assert read.ids(declare(PAGINATION["page"] | promise)) == ALL
    assert len(script.asked) == 5


def test_a_short_page_is_not_the_end_by_itself(script: Script, read: Reader) -> None:
    script.kind = "page"
    honest = script.page

    def filtered(asked: Asked) -> Reply:
        reply = honest(asked)
        if asked.query["at"] == "2":
            del reply.body["data"]["rows"][1:]  # hidden rows make a page in the middle short
        return reply

    script.reply = filtered
    assert read.ids(declare(PAGINATION["page"])) == [*range(1, 7), *range(11, 24)]


def test_a_link_to_the_next_page_may_stand_in_the_answer(script: Script, read: Reader) -> None:
    honest = script.page

    def answer(asked: Asked) -> Reply:
        reply = honest(asked)
        cursor = reply.body["paging"]["next"]
        reply.body["next"] = f"{script.url}/v1/people?at={cursor}" if cursor else None
        return reply

    script.reply = answer
    assert read.ids(declare({"kind": "link", "next": "next"})) == ALL


def test_the_window_is_asked_for_as_the_cursor_column_is_written(
    script: Script, read: Reader
) -> None:
    def declared(**column: Any) -> Table:
        return declare(
            PAGINATION["cursor"],
            request={"since_parameter": "since", "until_parameter": "until"},
            cursor={"column": "at"},
            columns={
                "id": {"type": "bigint", "required": True},
                "at": {"type": "timestamp", "required": True, **column},
            },
        )

    start = dt.datetime(2026, 6, 28, 16)
    read(declared())
    assert "since" not in script.asked[0].query
    for column, since, until in (
        ({}, "2026-06-28T16:00:00Z", "2026-07-01T00:00:00Z"),
        ({"format": "epoch_ms"}, "1782662400000", "1782864000000"),
        ({"format": "%Y/%m/%d %H:%M"}, "2026/06/29 00:00", "2026/07/01 08:00"),
        ({"type": "date"}, "2026-06-29", "2026-07-01"),
    ):
        script.asked.clear()
        read(declared(**column), start)
        assert {asked.query["since"] for asked in script.asked} == {since}
        assert {asked.query["until"] for asked in script.asked} == {until}


def test_numbers_and_text_arrive_as_the_service_wrote_them(script: Script, read: Reader) -> None:
    body = (
        '{"total": 2, "data": {"x": [1], "rows": [\n {"id": 1, "name": 12.10},\r\n'
        ' {"id": 12345678901234567890, "name": "a\\n\\"}],王"}, 7, null ]}}'
    ).encode()
    script.reply = lambda asked: Reply(body)
    rows = read(declare(PAGINATION["none"]))
    assert rows[1] == ("12345678901234567890", 'a\n"}],王')
    assert rows[0][0] == "1"
    assert [(row[-3], row[-1].strip()) for row in read.rejects] == [(3, "7"), (4, "null")]
    pages = list(read.tmp_path.glob("people/.reading/000001/records.jsonl"))
    assert b'"name": 12.10' in pages[0].read_bytes()


def test_records_are_cut_out_of_any_answer_as_they_stand() -> None:
    draw = random.Random(4)
    texts = ["", "a", "],}", '"', "\\", "\n", "王\u2028", "\x00", "data", "rows"]

    def value(depth: int) -> Any:
        kind = draw.randrange(7 if depth else 5)
        if kind < 5:
            return [None, draw.choice(texts), draw.randrange(10**20), draw.random(), True][kind]
        if kind == 5:
            return [value(depth - 1) for _ in range(draw.randrange(4))]
        return {draw.choice(texts): value(depth - 1) for _ in range(draw.randrange(4))}

    for _ in range(500):
        rows = [value(3) for _ in range(draw.randrange(5))]
        inner: dict[str, Any] = {draw.choice(texts): value(2) for _ in range(3)}
        body = {draw.choice(texts): value(2), "data": inner | {"rows": rows}}
        indent = draw.choice([None, 0, 2])
        text = json.dumps(body, ensure_ascii=draw.random() < 0.5, indent=indent)
        whole = web_service.Answer(httpx.URL("http://x"), text, json.loads(text), None)
        lines = rest._records("x", "data.rows", whole)
        assert [json.loads(line) for line in lines] == rows
        assert not any("\n" in line for line in lines)


def test_gbk_and_compressed_answers_are_read(script: Script, read: Reader) -> None:
    text = json.dumps({"data": {"rows": script.records}}, ensure_ascii=False)
    script.reply = lambda asked: Reply(
        gzip.compress(text.encode("gb18030")), headers={"Content-Encoding": "gzip"}
    )
    rows = read(declare(PAGINATION["none"], encoding="gb18030"))
    assert rows[0] == ("1", "王1")


def test_no_content_and_null_are_an_empty_page(script: Script, read: Reader) -> None:
    script.kind = "page"
    script.faults = {6: Reply(b"", status=204)}
    assert read.ids(declare(PAGINATION["page"])) == ALL
    script.reply = lambda asked: Reply({"data": {"rows": None}})
    script.faults = {}
    script.asked.clear()
    assert read.ids(declare(PAGINATION["page"])) == []


@pytest.mark.parametrize(
    ("connection", "header", "value"),
    [
        ({"password": TOKEN}, "Authorization", f"Bearer {TOKEN}"),
        ({"login": "ann", "password": "pw"}, "Authorization", "Basic YW5uOnB3"),
        ({"password": TOKEN, "extra": {"header": "X-Api-Key"}}, "X-Api-Key", TOKEN),
    ],
)
def test_the_secret_is_sent_as_the_connection_says(
    script: Script, read: Reader, connection: dict[str, Any], header: str, value: str
) -> None:
    port = script.server.server_port
    read.connection = Connection(
        "svc", "http", host="127.0.0.1", port=port,
        **({"extra": {}} | connection),
    )  # fmt: skip
    read.connection.extra["base_path"] = "/v1"
    assert read.ids(declare(PAGINATION["cursor"])) == ALL
    assert {asked.headers[header] for asked in script.asked} == {value}


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ({"host": "api.example.com"}, "http://api.example.com/"),
        ({"host": "api.example.com", "schema": "https"}, "https://api.example.com/"),
        ({"host": "https://api.example.com:8443/v2/"}, "https://api.example.com:8443/v2"),
        ({"host": "api.example.com", "kind": "https", "port": 444}, "https://api.example.com:444/"),
    ],
)
def test_addresses_are_understood_as_airflow_understands_them(
    host: dict[str, Any], address: str
) -> None:
    made = Connection(**{"name": "svc", "kind": "http", **host})
    assert str(web_service.base_address(made)) == address


@pytest.mark.parametrize(
    "wrong", [{"host": None}, {"host": "https://u:p@api.example.com"}, {"password": "a\nb: c"}]
)
def test_a_connection_that_is_no_service_is_refused_without_its_secret(
    wrong: dict[str, Any],
) -> None:
    made = Connection(**{"name": "svc", "kind": "http", "host": "x", **wrong})
    with pytest.raises(ConfigError, match="connection 'svc'") as error:
        WebService(made)
    assert "u:p" not in str(error.value)
    assert "a\n" not in str(error.value)


def test_requests_are_not_sent_faster_than_declared(
    script: Script, read: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    sent: list[float] = []

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(web_service, "PATIENCE", Patience(sleep=sleep))
    monkeypatch.setattr(web_service, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    script.before = lambda number: sent.append(clock[0])
    script.faults = {2: Reply({}, 500)}
    read.requests_per_second = 4
    read.ids(declare(PAGINATION["cursor"]))
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert len(gaps) == 5
    assert min(gaps) >= 0.25


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_waited_for(
    script: Script, read: Reader, monkeypatch: pytest.MonkeyPatch, as_date: bool
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(web_service, "PATIENCE", Patience(first_wait=0.001, sleep=waited.append))
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=40)
    value = email.utils.format_datetime(soon, usegmt=True) if as_date else "40"
    script.faults = {
        2: Reply({}, 429, {"Retry-After": value}), 3: Reply({}, 503, {"Retry-After": "7"})
    }  # fmt: skip
    assert read.ids(declare(PAGINATION["cursor"])) == ALL
    assert waited == [pytest.approx(40, abs=3), 7]


def test_a_service_that_wants_to_rest_long_is_left_alone(script: Script, read: Reader) -> None:
    script.faults = {3: Reply({}, 503, {"Retry-After": "3600"})}
    with pytest.raises(SourceError, match=r"page 3: .*503.*come back in 3600 s"):
        read(declare(PAGINATION["cursor"]))
    assert len(script.asked) == 3


FAULTS = {
    "an error": Reply({"error": "王小明 13812345678"}, 500),
    "too many requests": Reply({}, 429),
    "a reset": Reply(how="reset"),
    "an answer cut short": Reply(how="cut"),
    "half an answer": Reply(how="half"),
    "silence": Reply(how="silent"),
    "a drip": Reply({"data": {"rows": []}}, how="drip"),
    "a web page": Reply(b"<html>login</html>", headers={"Content-Type": "text/html"}),
    "broken text": Reply(b'{"data": {"rows": [{"id": 1, "name": "\xff"}]}}'),
    "broken compression": Reply(b"not gzip", headers={"Content-Encoding": "gzip"}),
    "not a number": Reply(b'{"data": {"rows": [{"id": NaN}]}}'),
    "endless depth": Reply(b"[" * 200_000),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_passes_costs_nothing(script: Script, read: Reader, name: str) -> None:
    script.faults = {3: FAULTS[name], 4: FAULTS[name]}
    assert read.ids(declare(PAGINATION["cursor"])) == ALL
    assert len(script.asked) == 7


@pytest.mark.parametrize("name", ["an error", "a reset", "half an answer", "an answer cut short"])
def test_a_fault_that_stays_stops_the_reading_and_the_next_goes_on(
    script: Script, read: Reader, name: str
) -> None:
    script.faults = dict.fromkeys(range(3, 9), FAULTS[name])
    with pytest.raises(SourceError, match=r"svc\.people: page 3: .*6 times in a row"):
        read(declare(PAGINATION["cursor"]))
    assert len(script.asked) == 8
    assert read.ids(declare(PAGINATION["cursor"])) == ALL
    assert [asked.query["at"] for asked in script.asked[8:]] == ["c10", "c15", "c20"]


def test_a_server_that_is_gone_is_said(read: Reader, script: Script) -> None:
    script.close()
    with pytest.raises(SourceError, match=r"127\.0\.0\.1 cannot be reached \(connection 'svc'\)"):
        read(declare(PAGINATION["cursor"]))


@pytest.mark.parametrize("status", [401, 403, 400, 404, 410])
def test_a_refusal_is_not_repeated(script: Script, read: Reader, status: int) -> None:
    script.faults = {1: Reply({"detail": TOKEN}, status)}
    with pytest.raises(SourceError, match=rf"page 1: the service answers {status}") as error:
        read(declare(PAGINATION["cursor"]))
    assert len(script.asked) == 1
    assert TOKEN not in str(error.value)


def test_a_cursor_that_is_too_old_begins_the_reading_anew(script: Script, read: Reader) -> None:
    script.faults = {number: Reply({}, 500) for number in range(3, 9)}
    with pytest.raises(SourceError):
        read(declare(PAGINATION["cursor"]))
    script.faults = {9: Reply({"error": "cursor expired"}, 400)}
    assert read.ids(declare(PAGINATION["cursor"])) == ALL
    assert len(script.asked) == 9 + 5


def test_another_request_does_not_take_up_what_was_read(script: Script, read: Reader) -> None:
    script.faults = {3: Reply({}, 404)}
    with pytest.raises(SourceError):
        read(declare(PAGINATION["cursor"]))
    changed = declare(PAGINATION["cursor"], request={"parameters": {"kind": "vip"}})
    script.asked.clear()
    script.faults = {}
    assert read.ids(changed) == ALL
    assert len(script.asked) == 5


def test_a_listing_read_to_its_end_that_did_not_land_is_read_anew(
    script: Script, read: Reader
) -> None:
    assert read.ids(declare(PAGINATION["cursor"])) == ALL
    script.records = script.records[:7]
    assert read.ids(declare(PAGINATION["cursor"])) == ALL[:7]


CHILD = """
    import sys
    from pathlib import Path
    import duckdb
    from customer360.sources import web_service
    from customer360.sources.rest import RestSession
    from importlib.util import module_from_spec, spec_from_file_location
    spec = spec_from_file_location("scripted", sys.argv[1])
    tests = module_from_spec(spec)
    sys.modules["scripted"] = tests
    spec.loader.exec_module(tests)
    made = web_service.Connection("svc", "http", host=sys.argv[2], password="x")
    session = RestSession(web_service.WebService(made))
    reading = tests.make_reading(tests.declare(tests.PAGINATION["cursor"]), Path(sys.argv[3]))
    session.relation(duckdb.connect(), reading)
"""


def test_a_killed_reading_goes_on_from_its_last_whole_page(
    script: Script, read: Reader, tmp_path: Path
) -> None:
    children: list[subprocess.Popen[bytes]] = []
    arrived = threading.Event()

    def kill(number: int) -> None:
        if number == 4:
            arrived.wait(20)
            os.kill(children[0].pid, signal.SIGKILL)
            children[0].wait()

    script.before = kill
    children.append(
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CHILD), __file__, f"{script.url}/v1",
             str(tmp_path)]
        )
    )  # fmt: skip
    arrived.set()
    assert children[0].wait(60) == -signal.SIGKILL
    (tmp_path / "people" / ".reading" / ".page-left").mkdir()
    script.before = lambda number: None
    assert read.ids(declare(PAGINATION["cursor"])) == ALL
    assert [asked.query.get("at") for asked in script.asked[4:]] == ["c15", "c20"]
    assert not list((tmp_path / "people" / ".reading").glob(".page-*"))


@pytest.mark.parametrize("kind", ["cursor", "link"])
@pytest.mark.parametrize("back_to", ["c10", "c5"])
def test_a_cursor_or_link_that_comes_again_is_a_loop(
    script: Script, read: Reader, kind: str, back_to: str
) -> None:
    script.kind = kind
    honest = script.page

    def answer(asked: Asked) -> Reply:
        reply = honest(asked)
        if asked.query.get("at") == "c10":
            reply.body["paging"] = {"next": back_to}
            reply.headers["Link"] = f'</v1/people?at={back_to}>; rel="next"'
        return reply

    script.reply = answer
    with pytest.raises(SourceError, match=rf"page 3: .*a {kind} that it named before.*circle"):
        read(declare(PAGINATION[kind]))
    script.reply = honest
    assert read.ids(declare(PAGINATION[kind])) == ALL


@pytest.mark.parametrize("kind", ["cursor", "page"])
def test_the_same_page_again_is_a_loop(script: Script, read: Reader, kind: str) -> None:
    script.kind = kind
    honest = script.page

    def answer(asked: Asked) -> Reply:
        reply = honest(Asked(asked.path, {"at": "1" if kind == "page" else ""}, {}, 0))
        reply.body["paging"] = {"next": f"c{len(script.asked)}"}
        return reply

    script.reply = answer
    with pytest.raises(SourceError, match="page 2 holds the same records as page 1"):
        read(declare(PAGINATION[kind]))


def test_a_service_that_always_names_a_cursor_ends_with_an_empty_page(
    script: Script, read: Reader
) -> None:
    honest = script.page

    def answer(asked: Asked) -> Reply:
        reply = honest(asked)
        reply.body["paging"]["next"] = reply.body["paging"]["next"] or "c23"
        return reply

    script.reply = answer
    assert read.ids(declare(PAGINATION["cursor"])) == ALL


def test_empty_pages_in_the_middle_do_not_end_a_listing_by_cursor(
    script: Script, read: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.faults = {2: Reply({"data": {"rows": []}, "paging": {"next": "c5"}})}
    script.faults[1] = Reply({"data": {"rows": script.records[:5]}, "paging": {"next": "x"}})
    assert read.ids(declare(PAGINATION["cursor"])) == ALL
    script.reply = lambda asked: Reply(
        {"data": {"rows": []}, "paging": {"next": f"c{len(script.asked)}"}}
    )
    with pytest.raises(SourceError, match="20 empty pages in a row"):
        read(declare(PAGINATION["cursor"]))


def test_a_wrongly_declared_next_cursor_does_not_pass_for_the_end(
    script: Script, read: Reader
) -> None:
    wrong = declare(PAGINATION["cursor"] | {"next": "paging.nxt"})
    with pytest.raises(SourceError, match=r"page 1 is full, and the answer has no `paging\.nxt`"):
        read(wrong)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"request": {"records": "items"}}, r"no list at `items`.*request\.records"),
        ({"request": {"records": ""}}, "not a list itself"),
        ({"total": "data"}, "no number at `data`"),
    ],
)
def test_a_declaration_that_does_not_fit_is_said(
    script: Script, read: Reader, changes: dict[str, Any], message: str
) -> None:
    total = {"total": changes.pop("total")} if "total" in changes else {}
    with pytest.raises(SourceError, match=message):
        read(declare(PAGINATION["cursor"] | total, **changes))


def test_fewer_records_than_the_total_are_not_taken(script: Script, read: Reader) -> None:
    honest = script.page

    def answer(asked: Asked) -> Reply:
        reply = honest(asked)
        reply.body["total"] = 30
        return reply

    script.reply = answer
    with pytest.raises(SourceError, match=r"says in `total`.*more records"):
        read(declare(PAGINATION["cursor"] | {"total": "total"}))


@pytest.mark.parametrize(
    ("change", "total"),
    # Where the service tells no total, nothing shows a record that was deleted meanwhile.
    [("moved", {}), ("moved", {"total": "total"}), ("deleted", {"total": "total"})],
)
def test_records_that_move_between_numbered_pages_are_not_missed(
    script: Script, read: Reader, change: str, total: dict[str, Any]
) -> None:
    script.kind = "page"

    def disturb(number: int) -> None:
        if number == 2:  # record 1 was on page 1; record 6 slips from page 2 onto page 1
            first = script.records.pop(0)
            if change == "moved":
                script.records.append(first | {"name": "changed"})

    script.before = disturb
    found = read.ids(declare(PAGINATION["page"] | total))
    assert sorted(found) == (ALL if change == "moved" else ALL[1:])


def test_a_listing_that_never_rests_is_refused(script: Script, read: Reader) -> None:
    script.kind = "page"
    script.before = lambda number: script.records.append(script.records.pop(0))
    with pytest.raises(SourceError, match=r"changes while it is read, 3 times.*until_parameter"):
        read(declare(PAGINATION["page"] | {"is_short_last": True}))


def test_records_that_a_service_hands_out_twice_are_taken(script: Script, read: Reader) -> None:
    script.kind = "page"
    script.records.insert(9, dict(script.records[0], name="again"))
    assert sorted(read.ids(declare(PAGINATION["page"]))) == sorted([*ALL, 1])


@pytest.mark.parametrize("how", ["redirect", "link", "answer"])
def test_the_token_never_goes_to_another_host(
    script: Script, read: Reader, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Script()
    target = f"{other.url}/v1/people?at=c5"
    try:
        if how == "redirect":
            script.faults = {1: Reply({}, 302, {"Location": target})}
        else:
            body = script.page(Asked("", {}, {}, 0)).body | {"next": target}
            script.faults = {1: Reply(body, headers={"Link": f'<{target}>; rel="next"'})}
        pagination = {"kind": "link", **({"next": "next"} if how == "answer" else {})}
        with pytest.raises(SourceError, match=r"another address \(http://127\.0\.0\.1\).*svc"):
            read(declare(pagination))
        assert other.asked == []
    finally:
        other.close()


def test_a_redirect_on_the_same_host_is_followed(script: Script, read: Reader) -> None:
    script.faults = {1: Reply({}, 307, {"Location": "/v1/people?at=c0"})}
    assert read.ids(declare(PAGINATION["cursor"])) == ALL
    script.reply = lambda asked: Reply({}, 302, {"Location": "/v1/people"})
    with pytest.raises(SourceError, match="redirects in a circle"):
        read(declare(PAGINATION["cursor"]))


def test_caps_on_an_answer_and_on_pages(
    script: Script, read: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_service, "MAX_BODY_BYTES", 2**20)
    bomb = gzip.compress(b" " * 20_000_000)
    script.faults = {1: Reply(bomb, headers={"Content-Encoding": "gzip"})}
    with pytest.raises(SourceError, match=r"page 1: .*larger than 1 MB.*pagination\.size"):
        read(declare(PAGINATION["cursor"]))
    assert len(script.asked) == 1
    monkeypatch.setattr(rest, "MAX_PAGES", 3)
    with pytest.raises(SourceError, match=r"page 4: more pages than 3"):
        read(declare(PAGINATION["cursor"]))


def test_two_readings_of_the_same_day_do_not_mix(
    script: Script, read: Reader, tmp_path: Path
) -> None:
    def zombie(number: int) -> None:
        if number == 2:
            script.before = lambda number: None
            other = Reader(script, tmp_path)
            script.faults = {4: Reply({}, 404)}
            with pytest.raises(SourceError):
                other(declare(PAGINATION["cursor"]))
            script.faults = {}

    script.before = zombie
    with pytest.raises(Customer360Error, match="another process is reading"):
        read(declare(PAGINATION["cursor"]))


def test_neither_logs_nor_errors_hold_tokens_or_personal_data(
    script: Script, read: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    honest = script.page

    def answer(asked: Asked) -> Reply:
        reply = honest(asked)
        following = reply.body["paging"]["next"]
        reply.body["paging"]["next"] = following and f"{following}"
        return reply

    script.reply = answer
    script.faults = {
        2: Reply({"error": "13812345678"}, 500),
        3: Reply({"error": "13812345678"}, 422),
    }
    table = declare(PAGINATION["cursor"], request={"parameters": {"phone": "13812345678"}})
    with pytest.raises(SourceError) as error:
        read(table)
    said = caplog.text + str(error.value)
    assert "page 2: the service answers 500" in said
    for secret in (TOKEN, "13812345678", "c5", "phone="):
        assert secret not in said
