"""Rows to folders of files: here, in an object storage, on an SFTP server."""

import csv
import datetime as dt
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import fsspec
import pytest

from customer360.activation import exports, stops
from customer360.activation.declared import CUSTOMER_ID_MAP
from customer360.exceptions import ReceiverUnavailableError
from tests.activation.sftp_server import SftpServer
from tests.publish.company import DAY

NEXT = DAY + dt.timedelta(days=1)
FORMATS = ["parquet", "csv", "spreadsheet.csv", "jsonl"]
ROWS = [("=cmd", "vip", 1), ("b", "vip", 2)]
Read = Callable[[str], bytes]


def declare(world, path: str, **changed) -> None:
    declared = {"title": "A folder", "owner": "tools", "kind": "files", "path": path,
                "from": "segment_members", "purpose": "care", "columns": {"score": "care"},
                "formats": FORMATS, **changed}  # fmt: skip
    world.declare_only(declared)


@pytest.fixture(params=["local", "memory", "sftp"])
def place(request, world, tmp_path) -> Iterator[Read]:
    """The tool's folder, and how to read what is in it."""
    if request.param == "local":
        declare(world, "data:outbox_of_tool")
        yield lambda name: (world.settings.data_dir / "outbox_of_tool" / name).read_bytes()
        return
    if request.param == "memory":
        root = f"/{tmp_path.name}"
        declare(world, f"memory:/{root}")
        yield lambda name: fsspec.filesystem("memory").cat_file(f"{root}/{name}")
        return
    served = tmp_path / "served"
    served.mkdir()
    server = SftpServer(served)
    known = {"desk": {"conn_type": "sftp", "host": "127.0.0.1", "port": server.port,
                      "login": "tool", "password": "secret"}}  # fmt: skip
    (world.settings.data_dir / "connections.json").write_text(json.dumps(known))
    declare(world, "sftp://127.0.0.1/incoming", connection="desk")
    yield lambda name: (served / "incoming" / name).read_bytes()
    server.stop()


def test_a_tool_finds_every_format_whole_and_as_changes_with_a_manifest(world, place):
    assert world.send(ROWS).counts["added"] == 2
    done = world.send([("b", "vip", 3), ("c", "vip", 4)], NEXT)
    assert done.counts == {"added": 1, "changed": 1, "removed": 1}
    day = f"tool/{NEXT}"
    manifest = json.loads(place(f"{day}/manifest.json"))
    for name in (f"{stem}.{suffix}" for stem in ("full", "changes") for suffix in FORMATS):
        assert (
            hashlib.sha256(place(f"{day}/{name}")).hexdigest() == manifest["files"][name]["sha256"]
        )
    digest = hashlib.sha256(place(f"{day}/manifest.json")).hexdigest()
    assert place(f"{day}/_SUCCESS").decode().strip() == digest
    changes = list(csv.DictReader(io.StringIO(place(f"{day}/changes.csv").decode())))
    assert [(row["customer_id"], row["change"]) for row in changes] == [
        ("=cmd", "removed"), ("b", "changed"), ("c", "added"),
    ]  # fmt: skip
    lines = [json.loads(line) for line in place(f"{day}/full.jsonl").splitlines()]
    assert [(line["customer_id"], line["score"]) for line in lines] == [("b", 3), ("c", 4)]


def test_machines_get_values_untouched_and_spreadsheets_harmless(world):
    declare(world, "data:outbox_of_tool")
    world.send(ROWS)
    folder = world.settings.data_dir / "outbox_of_tool" / "tool" / str(DAY)
    assert "\n=cmd,vip,1" in (folder / "full.csv").read_text()
    text = (folder / "full.spreadsheet.csv").read_bytes()
    assert text.startswith(b"\xef\xbb\xbf")
    assert b"'=cmd,vip,1" in text
    assert duckdb.sql(f"from '{folder / 'full.parquet'}'").fetchall()[0][0] == "=cmd"


def test_a_rerun_leaves_the_same_files_and_a_broken_folder_costs_nothing(world, tmp_path):
    wall = tmp_path / "wall"
    wall.write_text("a file where a folder should be")
    declare(world, str(wall / "below"))
    published = world.publish(ROWS)
    with pytest.raises(ReceiverUnavailableError, match="Nothing counts as delivered"):
        world.deliver(published)
    wall.unlink()
    assert world.deliver(published).counts["added"] == 2
    before = {file.name: file.read_bytes() for file in _day(wall / "below").iterdir()}
    assert world.deliver(published).status == "unchanged"
    assert {file.name: file.read_bytes() for file in _day(wall / "below").iterdir()} == before


def _day(root: Path) -> Path:
    return root / "tool" / str(DAY)


def test_who_is_suppressed_is_in_no_file_and_the_id_map_comes_along(world):
    declare(world, "data:outbox_of_tool")
    stops.suppress(world.engine, ["b"], "erased", "asked for it")
    merged = "select 'b' as old_id, 'c' as new_id, 'merge' as reason"
    published = world.publish(ROWS, customer_id_map=merged)
    exports.export(world.settings, world.engine, published[0], CUSTOMER_ID_MAP, DAY, published[2])
    assert world.deliver(published).held == {"erased": 1}
    root = world.settings.data_dir / "outbox_of_tool"
    assert "\nb," not in (root / "tool" / str(DAY) / "full.csv").read_text()
    assert "b,c,merge" in (root / "customer_id_map" / str(DAY) / "full.csv").read_text()
