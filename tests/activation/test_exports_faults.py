"""Exports are killed at every moment; a tool that reads may only ever see a whole one."""

import datetime as dt
import hashlib
import json
import shutil
from pathlib import Path

import duckdb
import pytest

from customer360.activation import exports, ledger, versions
from customer360.activation.declared import Export
from customer360.config import ExportPolicy
from customer360.exceptions import ExportError
from customer360.settings import Settings
from tests.faults.killing import kill_at, moments
from tests.publish.company import DAY, make_settings, open_state, publish_tables

MEMBERS = Export("segment_members")
WEEK = dt.timedelta(days=7)


def export_second(settings: Settings) -> exports.ExportResult:
    """Export run 2, whose snapshot is published already, over what run 1 exported that day."""
    (snapshot,) = settings.snapshots_dir.glob("*-two.duckdb")
    return exports.export(settings, open_state(settings), snapshot, MEMBERS, DAY, "two")


def export_second_in_two_steps(settings: Settings) -> None:
    """The planted bug: the link that tools follow is removed before it is made anew."""

    def show(home: Path, as_of: dt.date, version: str) -> None:
        (home / str(as_of)).unlink()
        (home / str(as_of)).symlink_to(Path(".versions") / version)

    versions.show = show
    export_second(settings)


def ready(folder: Path) -> Settings:
    settings = make_settings(folder)
    one = publish_tables(settings, "one", DAY, {}, segment_members="select 'a' as customer_id")
    exports.export(settings, open_state(settings), one, MEMBERS, DAY, "one")
    two = "select unnest(['a', 'b']) as customer_id"
    publish_tables(settings, "two", DAY, {}, segment_members=two)
    return settings


def what_a_tool_reads(settings: Settings) -> str:
    """The run whose export is whole, or what is wrong with it."""
    folder = (settings.exports_dir / "segment_members" / str(DAY)).resolve()
    try:
        said = (folder / "manifest.json").read_bytes()
        if (folder / "_SUCCESS").read_text().strip() != hashlib.sha256(said).hexdigest():
            return "error: _SUCCESS is of another manifest"
        manifest = json.loads(said)
        for name, entry in manifest["files"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != entry["sha256"]:
                return f"error: {name} is not what the manifest says"
    except OSError as error:
        return f"error: {type(error).__name__}"
    return manifest["run_id"]


def files(settings: Settings) -> list[str]:
    home = settings.exports_dir
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


def test_a_kill_at_any_moment_leaves_a_whole_export_and_a_rerun_ends_right(tmp_path):
    template = ready(tmp_path / "template")
    seen = []
    undisturbed = copy(template, tmp_path)
    names = moments(export_second, undisturbed)
    expected = files(undisturbed)
    assert names.count("os.fsync") >= 8
    for number, name in enumerate(names):
        settings = copy(template, tmp_path)
        kill_at(number, export_second, settings)
        seen.append(what_a_tool_reads(settings))
        assert seen[-1] in ("one", "two"), f"killed at {name}: a tool reads {seen[-1]}"
        again = export_second(settings)
        assert what_a_tool_reads(settings) == "two", f"killed at {name}"
        assert files(settings) == expected, f"killed at {name}"
        assert (again.rows, again.added, again.removed) == (2, 1, 0), f"killed at {name}"
        changes = duckdb.sql(f"from '{again.path}/changes.parquet'").fetchall()
        assert changes == [("b", "added")], f"killed at {name}"
        received = [
            (row["run_id"], row["status"])
            for row in ledger.entries(open_state(settings))
            if row["status"] != "abandoned"
        ]
        assert received == [("two", "acknowledged"), ("one", "acknowledged")], f"killed at {name}"
    assert seen == sorted(seen)
    assert {"one", "two"} == set(seen)


def test_the_same_kills_catch_an_export_that_is_not_shown_at_once(tmp_path):
    template = ready(tmp_path / "template")
    names = moments(export_second_in_two_steps, copy(template, tmp_path))
    faults = []
    for number in reversed(range(len(names))):
        settings = copy(template, tmp_path)
        kill_at(number, export_second_in_two_steps, settings)
        faults = [read for read in [what_a_tool_reads(settings)] if read.startswith("error")]
        if faults:
            break
    assert faults, "the kills do not see that this export is shown in pieces"


def copy(template: Settings, folder: Path) -> Settings:
    """A copy of the world to break, in place of the last one."""
    broken = folder / "broken"
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(template.data_dir, broken, symlinks=True)
    return Settings("acme", broken, template.threads, template.memory_limit)


def fail_to_show(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_was_never_shown_is_given_up_and_what_waits_for_its_receiver_is_not(
    tmp_path, monkeypatch
):
    """Where receivers acknowledge, an export that a later one of its day replaced still counts."""
    settings = ready(tmp_path)
    engine = open_state(settings)
    policy = ExportPolicy(acknowledge="by_receiver")

    def export_run(run_id: str) -> exports.ExportResult:
        query = f"select '{run_id}' as customer_id"
        snapshot = publish_tables(settings, run_id, DAY, {}, segment_members=query)
        return exports.export(settings, engine, snapshot, MEMBERS, DAY, run_id, policy)

    export_run("three")
    with monkeypatch.context() as patch:
        patch.setattr(versions, "show", fail_to_show)
        with pytest.raises(KeyboardInterrupt):
            export_run("four")
    never_shown = ledger.entries(engine)[0]["file_hash"]
    export_run("five")
    with pytest.raises(ExportError, match="no export segment_members has"):
        ledger.acknowledge(engine, "segment_members", never_shown)
    said = {row["run_id"]: (row["version"], row["status"]) for row in ledger.entries(engine)}
    assert said == {
        "one": (f"{DAY}-001", "acknowledged"),
        "three": (f"{DAY}-002", "pending"),
        "four": (f"{DAY}-003", "abandoned"),
        "five": (f"{DAY}-003", "pending"),
    }
    folders = {path.name for path in (settings.exports_dir / "segment_members/.versions").iterdir()}
    assert folders == {f"{DAY}-001", f"{DAY}-002", f"{DAY}-003"}
