import datetime as dt
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from customer360.cli import cli
from customer360.exceptions import PublishError
from tests.publish.company import DAY, publish_run


@pytest.fixture
def run(settings, monkeypatch):
    monkeypatch.setenv("CUSTOMER360_DATA", str(settings.data_dir.parent))
    monkeypatch.setenv("COMPANY", settings.company)

    def call(*arguments: str) -> str:
        done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return call


@pytest.fixture
def two_snapshots(settings) -> list[Path]:
    return [
        publish_run(settings, "one", DAY),
        publish_run(settings, "two", DAY + dt.timedelta(days=1), rows=21),
    ]


def test_before_anything_is_published_the_mend_is_named(run):
    with pytest.raises(PublishError, match=r"nothing is published .* run the chain"):
        run("snapshot", "path")


def test_path_is_that_of_the_current_file(run, two_snapshots):
    assert run("snapshot", "path") == f"{two_snapshots[1]}\n"
    assert json.loads(run("snapshot", "path", "--json")) == {"path": str(two_snapshots[1])}


def test_list_marks_the_current_one_and_those_taken_back(run, two_snapshots):
    assert [line[0] for line in run("snapshot", "list").splitlines()] == ["*", " "]
    assert "two.duckdb is taken back" in run("snapshot", "rollback")
    assert [line[0] for line in run("snapshot", "list").splitlines()] == ["-", "*"]
    listed = json.loads(run("snapshot", "list", "--json"))["snapshots"]
    assert [(one["run_id"], one["current"], one["withdrawn"]) for one in listed] == [
        ("two", False, True),
        ("one", True, False),
    ]
    said = json.loads(run("snapshot", "rollback", "--to", "2026-03-02", "--json"))
    assert said["current"] == two_snapshots[1].name


def test_a_snapshot_is_found_by_name_path_or_day(run, two_snapshots):
    name = two_snapshots[0].name
    for reference in (name, name.removesuffix(".duckdb"), str(two_snapshots[0]), "2026-03-01"):
        assert json.loads(run("snapshot", "info", reference, "--json"))["run_id"] == "one"
    assert "run_id  two" in run("snapshot", "info")
    with pytest.raises(PublishError, match="no snapshot '2026-01-01'"):
        run("snapshot", "info", "2026-01-01")


def test_hash_prints_the_same_as_its_json(run, two_snapshots):
    said = json.loads(run("snapshot", "hash", "--json"))
    lines = dict(line.split() for line in run("snapshot", "hash").splitlines())
    assert lines == {part: said[part] for part in ("hash", "data", "scores")}
    assert json.loads(run("snapshot", "hash", "2026-03-01", "--json"))["data"] != said["data"]


def test_diff_counts_rows_by_table(run, two_snapshots):
    said = json.loads(run("snapshot", "diff", "2026-03-01", "2026-03-02", "--json"))
    assert (said["a"], said["b"]) == tuple(path.name for path in two_snapshots)
    assert said["tables"]["customers"]["added"] == 1
    assert "orders  added 1  changed 0  removed 0" in run("snapshot", "diff", "2026-03-01")


@pytest.mark.parametrize("command", ["path", "list", "hash", "diff", "rollback", "info"])
def test_every_command_helps_with_an_example(run, command):
    assert "Example: " in run("snapshot", command, "--help")
