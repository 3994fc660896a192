"""Findings reach a webhook that really listens, and a receiver that fails stops nothing."""

import datetime as dt
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from customer360 import connections, pipeline, run_status
from customer360.declarations import declared_sources
from customer360.exceptions import GateError
from customer360.notify import Finding, send
from customer360_airflow import callbacks, tasks
from tests.conftest import LAST_DAY


@dataclass
class Receiver:
    """What came to a web server, and how it answers."""

    address: str = ""
    status: int = 200
    hangs: threading.Event = field(default_factory=threading.Event)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    calls: int = 0


@pytest.fixture
def receiver(company, monkeypatch) -> Iterator[Receiver]:
    found = Receiver()
    found.hangs.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            found.calls += 1
            body = self.rfile.read(int(self.headers["content-length"]))
            found.hangs.wait(20)
            found.bodies.append(json.loads(body))
            found.headers.append(dict(self.headers))
            self.send_response(found.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.address = f"http://127.0.0.1:{server.server_port}/hooks/s3cret"
    connection = {"conn_type": "http", "host": found.address, "password": "t0ken"}
    monkeypatch.setenv("AIRFLOW_CONN_PAGER", json.dumps(connection))
    monkeypatch.setattr(connections, "_resolvers", [])
    company.config["policies"]["notify"] = {"webhook_connection": "pager", "timeout_seconds": 0.5}
    company.write()
    yield found
    found.hangs.set()
    server.shutdown()
    server.server_close()


def findings(count: int) -> list[Finding]:
    return [Finding("volume", "till", f"till.products: {number} rows") for number in range(count)]


def context(error: BaseException | None = None) -> dict[str, Any]:
    """What Airflow hands to a task and to its callbacks."""
    run = SimpleNamespace(
        partition_key=LAST_DAY.isoformat(),
        dag_id="build_customer_360",
        run_id="r1",
        run_after=dt.datetime(2026, 11, 22, tzinfo=dt.UTC),
    )
    return {
        "dag_run": run,
        "ti": SimpleNamespace(dag_id="ingest_till", task_id="extract", try_number=3),
        "task": SimpleNamespace(source="till"),
        "exception": error,
    }


def test_each_finding_is_one_small_json(company, receiver):
    assert send(company.settings, findings(2), "build/r1", "2017-10-29") == 2
    assert receiver.bodies[1] == {
        "company": "tiny",
        "run": "build/r1",
        "day": "2017-10-29",
        "kind": "volume",
        "source": "till",
        "text": "till.products: 1 rows",
    }
    assert receiver.headers[0]["Authorization"] == "Bearer t0ken"


def test_a_receiver_that_hangs_refuses_or_is_gone_stops_nothing(
    company, receiver, caplog, monkeypatch
):
    receiver.hangs.clear()
    assert send(company.settings, findings(3), "run", None) == 0
    assert receiver.calls == 1  # one time-out, not one a finding
    receiver.hangs.set()
    receiver.status = 503
    assert send(company.settings, findings(3), "run", None) == 0
    monkeypatch.setenv(
        "AIRFLOW_CONN_PAGER", '{"conn_type": "http", "host": "http://127.0.0.1:9/s3cret"}'
    )
    assert send(company.settings, findings(1), "run", None) == 0
    monkeypatch.delenv("AIRFLOW_CONN_PAGER")
    assert send(company.settings, findings(1), "run", None) == 0
    assert "answered 503" in caplog.text
    assert "connection 'pager' is not known" in caplog.text
    assert "s3cret" not in caplog.text
    callbacks.record_failure(context(ValueError("Wang Xiaoming")))


def test_a_failed_task_is_told_without_the_text_of_its_error(company, receiver):
    callbacks.record_failure(context(ValueError("Wang Xiaoming 13812345678")))
    assert [(body["kind"], body["source"], body["text"]) for body in receiver.bodies] == [
        ("task_failed", "till", "ingest_till.extract failed at try 3: ValueError")
    ]
    callbacks.record_failure(context())
    assert receiver.bodies[1]["text"].endswith("ended from outside")


def test_a_source_that_delivers_nothing_reaches_a_person_and_so_does_one_that_falls_silent(
    company, receiver, caplog
):
    """F23: zero rows and exit code 0."""
    caplog.set_level(logging.ERROR)
    settings = company.settings
    products = company.read("products")
    company.put("products", products.slice(0, 0))

    def audit(day, run_id):
        for source in declared_sources(settings):
            pipeline.extract(settings, source.name, day)
        pipeline.begin(settings, day, run_id)
        pipeline.load_raw(settings, day, run_id)
        step = tasks.Step(task_id="audit_raw", step="audit", layer="raw")
        given = context()
        given["dag_run"].partition_key = day.isoformat()
        step.run_id = lambda _: run_id
        return step.execute(given)

    with pytest.raises(tasks.RefusedError) as caught:
        audit(LAST_DAY, "empty")
    assert receiver.bodies == []
    callbacks.record_failure(context(caught.value))
    (told,) = receiver.bodies
    assert (told["kind"], told["source"]) == ("volume", "till")
    assert told["text"] == "till.products: At least 1 rows: no sudden fall: 0 rows in all"
    page = (settings.reports_dir / "empty" / "raw.html").read_text()
    assert "<h2>Collection quality</h2>" in page

    company.put("products", products)
    silent = LAST_DAY + dt.timedelta(days=2)
    result = audit(silent, "silent")
    assert result["failed"] == 0
    (told,) = receiver.bodies[1:]
    assert (told["kind"], told["source"], told["day"]) == ("freshness", "till", str(silent))
    # Profiles need a consent, and policies do not say where it is recorded.
    weak = run_status.status(settings)["weak_fields"]
    assert {(each["field"], each["scale"]) for each in weak} == {
        (f"customer_file.demographics.{name}", "compliant")
        for name in (
            "age", "income", "home_ownership", "marital_status", "household_size",
            "household_comp", "kids_count",
        )
    }  # fmt: skip
    text = run_status.format_summary(run_status.status(settings))
    assert "compliant 0 % on 2017-10-29, limit 100 %" in text
    assert "and 2 more" in text
    page = (settings.reports_dir / "silent" / "raw.html").read_text()
    assert "<tr><td>customer_file</td><td>100 %</td><td>100 %</td><td>-</td><td>12.5 %</td>" in page


def test_a_stale_source_is_told_whether_or_not_the_build_goes_on(company, receiver):
    settings = company.settings
    following = LAST_DAY + dt.timedelta(days=1)
    pipeline.extract(settings, "till", LAST_DAY)
    with pytest.raises(GateError) as caught:
        pipeline.mark_stale(settings, "till", following)
    assert [finding.kind for finding in caught.value.findings] == ["stale"]
    company.config["policies"]["stale"] = {"default": "accept"}
    company.write()
    (finding,) = pipeline.mark_stale(settings, "till", following)["findings"]
    assert (finding["kind"], finding["source"]) == ("stale", "till")
    callbacks.tell(context(), [finding])
    assert receiver.bodies[0]["text"].endswith("built with what it delivered 1 days ago")
