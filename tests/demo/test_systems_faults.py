"""What goes wrong with a demo is said clearly, and a reset always recovers."""

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from click.testing import CliRunner

from customer360.demo.commands import demo
from customer360.demo.systems import company, postgres, read_connections
from customer360.demo.systems.layout import Layout, is_ours, locked, read_state
from customer360.exceptions import BusyError, DemoError

Processes = Callable[[Layout], list[str]]


def silent(text: str) -> None:
    """Nobody listens."""


@pytest.fixture
def cleaned(layout: Layout, processes: Processes) -> Iterator[Layout]:
    yield layout
    if layout.root.exists() and (is_ours(layout) or not any(layout.root.iterdir())):
        company.reset(layout)
    assert processes(layout) == []


@pytest.mark.parametrize("moment", ["crm: database", "files are written"])
def test_a_start_that_was_killed_is_recognised_and_made_anew(
    cleaned: Layout,
    tiny_world: None,
    moment: str,
    port: int,
    kill_at: Callable[[Layout, int, str, str], None],
    processes: Processes,
) -> None:
    kill_at(cleaned, port, moment, "start")
    assert read_state(cleaned) is None
    with pytest.raises(DemoError, match=r"half-made.*start.*reset"):
        company.whole(cleaned)
    if moment == "files are written":
        assert company.reset(cleaned)
        assert not cleaned.root.exists()
        assert processes(cleaned) == []
        return
    state = company.start(cleaned, size="small", seed=1, port=port, report=silent)
    rows = company.count_rows(cleaned, state)
    assert rows["crm"] == {"activities": 1440, "persons": 180}
    assert rows["till"] == {"receipts": 1800, "stores": 3}


def test_a_port_in_use_is_named_before_any_work(cleaned: Layout, tiny_world: None) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(DemoError, match=rf"port {port}.*--port"):
            company.start(cleaned, port=port, report=silent)
    assert not cleaned.postgres.exists()
    assert company.reset(cleaned)


def test_a_demo_removed_by_hand_takes_its_web_server_along(
    layout: Layout, tiny_world: None, port: int, processes: Processes
) -> None:
    company.start(layout, size="small", port=port, report=silent)
    # PostgreSQL does the same by itself, but looks only once a minute.
    postgres.EmbeddedServer(layout).stop()
    assert len(processes(layout)) == 1
    shutil.rmtree(layout.root)
    deadline = time.monotonic() + 60
    while processes(layout) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes(layout) == []


def test_a_folder_that_is_not_ours_is_never_touched(layout: Layout, tiny_world: None) -> None:
    layout.root.mkdir()
    (layout.root / "thesis.txt").write_text("mine")
    for command in (
        lambda: company.start(layout, report=silent),
        lambda: company.reset(layout),
        lambda: company.advance(layout, 1, silent),
    ):
        with pytest.raises(DemoError):
            command()
    assert company.stop(layout) is False
    assert [path.name for path in layout.root.iterdir()] == ["thesis.txt"]


def test_too_small_a_disk_is_said_before_any_work(
    cleaned: Layout, tiny_world: None, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    usage = namedtuple("usage", "total used free")(1, 1, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DemoError, match=r"needs about \d+ GB.*CUSTOMER360_DATA"):
        company.start(cleaned, port=port, report=silent)
    assert not cleaned.world.exists()


def test_a_disk_that_fills_up_is_said_and_reset_recovers(
    cleaned: Layout, tiny_world: None, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)  # the tills' files
        with pytest.raises(DemoError, match=r"full.*reset"):
            company.start(cleaned, size="small", port=port, report=silent)
    assert company.reset(cleaned)
    assert not cleaned.root.exists()


def test_two_commands_at_once_do_not_meet(cleaned: Layout, tiny_world: None) -> None:
    from customer360.demo.systems.layout import claim

    claim(cleaned)
    with locked(cleaned), pytest.raises(BusyError, match="another"):
        company.start(cleaned, report=silent)


def test_another_server_gets_marked_databases_and_keeps_its_own(
    cleaned: Layout, tiny_world: None, port: int
) -> None:
    elsewhere = Layout(cleaned.root.with_name("server"))
    elsewhere.root.mkdir()
    server = postgres.EmbeddedServer(elsewhere)
    server.start()
    url = server.owner_url("postgres")
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("create database customer360_demo_shop")
            with pytest.raises(DemoError, match=r"customer360_demo_shop is already there"):
                company.start(cleaned, size="small", port=port, postgres_url=url, report=silent)
            # What was refused is left alone by the reset as well.
            assert company.reset(cleaned)
            names = "select datname from pg_database where datname like 'customer360%' order by 1"
            assert connection.execute(names).fetchall() == [("customer360_demo_shop",)]
            connection.execute("drop database customer360_demo_shop")
            company.start(cleaned, size="small", port=port, postgres_url=url, report=silent)
            assert [row[0] for row in connection.execute(names).fetchall()] == [
                "customer360_demo_crm", "customer360_demo_loyalty", "customer360_demo_shop",
            ]  # fmt: skip
            company.advance(cleaned, 3, silent)
            with psycopg.connect(read_connections(cleaned)["shop"].url) as shop:
                assert shop.execute("select count(*) from orders").fetchone() == (630,)
            assert company.reset(cleaned)
            assert connection.execute(names).fetchall() == []
    finally:
        server.remove()


def test_the_command_line_tells_the_day_the_rows_and_the_truth(
    cleaned: Layout,
    tiny_world: None,
    monkeypatch: pytest.MonkeyPatch,
    port: int,
    processes: Processes,
) -> None:
    # A socket's address is short: the folder must not matter.
    deep = Layout(cleaned.root / ("d" * 60) / ("e" * 60) / "systems")
    monkeypatch.setattr("customer360.demo.commands.default_layout", lambda: deep)

    def run(*arguments: str) -> str:
        outcome = CliRunner().invoke(demo, arguments, catch_exceptions=False)
        assert outcome.exit_code == 0, outcome.output
        return outcome.stdout

    run("start", "--port", str(port))
    run("advance", "--days", "2")
    status = json.loads(run("status", "--json"))
    assert status["day"] == 2
    assert status["date"] == "2026-03-03"
    assert status["systems"]["voice"] == {"reviews": 620}
    assert set(status["systems"]) == {
        "crm", "shop", "loyalty", "till", "wechat", "events", "aftersales", "voice",
        "callcentre", "campaign",
    }  # fmt: skip
    assert "crm.persons" in run("hash")
    assert "P1" in run("show", "crm", "persons", "--rows", "300")
    assert json.loads(run("fault", "callcentre", "--kind", "error"))["faults"]
    assert json.loads(run("fault", "--off"))["faults"] == []
    with psycopg.connect(read_connections(deep)["crm"].url) as connection:
        assert connection.execute("select count(*) from persons").fetchone() == (186,)
    run("stop")
    beside = deep.root.with_name("landing")
    beside.mkdir()
    deep.state.write_text("{")
    outcome = CliRunner().invoke(demo, ["status"])
    assert isinstance(outcome.exception, DemoError)
    assert "reset" in str(outcome.exception)
    socket_folder = postgres.EmbeddedServer(deep).socket_folder
    run("reset")
    assert beside.exists()
    assert not deep.root.exists()
    assert not socket_folder.exists()
    assert "no demo" in run("reset")
    assert processes(deep) == []


def test_a_postgres_that_was_killed_starts_again(
    cleaned: Layout, tiny_world: None, port: int
) -> None:
    state = company.start(cleaned, size="small", seed=1, port=port, report=silent)
    before = company.count_rows(cleaned, state)
    lock = cleaned.postgres / "data" / "postmaster.pid"
    postmaster = psutil.Process(int(lock.read_text().split()[0]))
    postmaster.send_signal(signal.SIGKILL)
    # On a busy machine it takes a moment to die; until then it still looks as if it ran.
    with contextlib.suppress(psutil.NoSuchProcess):
        while postmaster.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
    state = company.start(cleaned, size="small", seed=1, port=port, report=silent)
    assert company.count_rows(cleaned, state) == before


def test_status_says_which_server_is_dead(
    cleaned: Layout, tiny_world: None, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    monkeypatch.setattr("customer360.demo.commands.default_layout", lambda: cleaned)
    state = company.start(cleaned, size="small", seed=1, port=port, report=silent)
    company.stop_web(cleaned)
    outcome = CliRunner().invoke(demo, ["status"], catch_exceptions=False)
    assert "Stopped: callcentre, campaign (crm, shop, loyalty run)" in outcome.stderr
    company.run_servers(cleaned, state)
    postgres.EmbeddedServer(cleaned).stop()
    outcome = CliRunner().invoke(demo, ["status"], catch_exceptions=False)
    assert "Stopped: crm, shop, loyalty (callcentre, campaign run)" in outcome.stderr
    assert "tickets" in outcome.stdout
    assert "persons" not in outcome.stdout
    seen = json.loads(CliRunner().invoke(demo, ["status", "--json"]).stdout)
    assert seen["running"]["crm"] is False
    assert seen["running"]["campaign"] is True
    with pytest.raises(DemoError, match="PostgreSQL is stopped, where crm, shop, loyalty live"):
        company.content_hashes(cleaned, state)


def test_a_demo_of_another_generator_is_refused_and_can_be_reset(
    cleaned: Layout, tiny_world: None, port: int
) -> None:
    state = company.start(cleaned, size="small", seed=1, port=port, report=silent)
    company.stop(cleaned)
    older = json.loads(cleaned.state.read_text()) | {"generator": state.generator - 1}
    cleaned.state.write_text(json.dumps(older))
    for command in (
        lambda: company.start(cleaned, report=silent),
        lambda: company.advance(cleaned, 1, silent),
        lambda: company.whole(cleaned),
    ):
        with pytest.raises(DemoError, match=r"version \d+ of the generator.*reset"):
            command()
    # Half-made: a world that another version left is not built upon.
    cleaned.state.unlink()
    plan = cleaned.root / "plan.json"
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"generator": 0}))
    made = cleaned.world.stat().st_mtime_ns
    company.start(cleaned, size="small", seed=1, port=port, report=silent)
    assert cleaned.world.stat().st_mtime_ns > made
