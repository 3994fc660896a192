"""Files behind a URL: fetched once a version, whatever they are called."""

import datetime as dt

import fsspec
import pytest

from customer360.exceptions import SourceError
from customer360.sources import storage
from tests.collect.files_company import ingest, load, query, state

DAY = dt.date(2026, 6, 1)
NEXT = dt.date(2026, 6, 2)


@pytest.fixture
def bucket(drops, tmp_path):
    """A bucket in memory that the source reads."""
    filesystem = fsspec.filesystem("memory")
    root = f"/bucket-{tmp_path.name}"
    drops.source["path"] = f"memory:/{root}/drops"
    drops.table["file"] = "**/*.jsonl"
    drops.write()

    def put(name, content):
        filesystem.pipe(f"{root}/drops/{name}", content.encode())

    yield put
    filesystem.rm(root, recursive=True)
    storage._openers.clear()


def test_objects_are_taken_once_by_content(drops, bucket):
    bucket("a_20260601.jsonl", '{"id": 1, "name": "甲"}\n')
    bucket("store/b_20260601.jsonl", '{"id": 2}\nbad\n')
    bucket("store/.hidden.jsonl", '{"id": 9}\n')
    bucket("c_20260602.jsonl", '{"id": 3}\n')
    first, _ = ingest(drops, DAY)
    assert [(file.name, file.rows) for file in first.files] == [
        ("a_20260601.jsonl", 1),
        ("store/b_20260601.jsonl", 2),
    ]
    bucket("again_20260602.jsonl", '{"id": 1, "name": "甲"}\n')
    second, _ = ingest(drops, NEXT)
    assert [file.name for file in second.files] == ["c_20260602.jsonl"]
    load(drops)
    assert state(drops) == [(1, "甲"), (2, None), (3, None)]
    assert query(drops, "select file, position from meta.quarantine") == [
        ("store/b_20260601.jsonl", 2)
    ]


class Counting:
    """A filesystem that counts what is opened, and can fail."""

    def __init__(self):
        self.inner = fsspec.filesystem("memory")
        self.opened = []
        self.broken = set()

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def open(self, path, mode):
        name = path.rpartition("/")[2]
        self.opened.append(name)
        if name in self.broken:
            raise ConnectionResetError("secret host")
        return self.inner.open(path, mode)


def test_what_was_fetched_is_not_fetched_again_by_the_next_attempt(drops, bucket):
    counting = Counting()
    asked = []
    storage.use(lambda url, connection: asked.append((url, connection)) or counting)
    drops.source["connection"] = "lake"
    drops.write()
    for number in range(3):
        bucket(f"a{number}.jsonl", f'{{"id": {number}}}\n')
    counting.broken = {"a2.jsonl"}
    with pytest.raises(SourceError, match="cannot be read") as error:
        ingest(drops, DAY)
    assert "secret" not in str(error.value)
    counting.broken = set()
    assert ingest(drops, DAY)[0].rows == 3
    assert counting.opened == ["a0.jsonl", "a1.jsonl", "a2.jsonl", "a2.jsonl"]
    assert asked[0] == (drops.source["path"], "lake")
    bucket("new.jsonl", '{"id": 9}\n')
    ingest(drops, NEXT)
    assert counting.opened[4:] == ["new.jsonl"]


def test_an_object_that_is_replaced_while_it_is_read_is_refused(drops, bucket, monkeypatch):
    bucket("a.jsonl", '{"id": 1}\n')
    from customer360.sources import files

    real = files.json_relation

    def slow(*arguments, **options):
        bucket("a.jsonl", '{"id": 1}\n{"id": 2}\n')
        return real(*arguments, **options)

    monkeypatch.setattr(files, "json_relation", slow)
    with pytest.raises(SourceError, match="changed while it was read"):
        ingest(drops, DAY)


def test_a_storage_without_its_package_says_what_to_install(drops):
    drops.source["path"] = "nosuch://bucket/drops"
    drops.write()
    with pytest.raises(SourceError, match="no filesystem for nosuch is installed"):
        ingest(drops, DAY)


def test_file_urls_and_the_company_s_data_are_local_folders(drops):
    drops.put("a.jsonl", '{"id": 1}\n')
    drops.source["path"] = drops.files.as_uri()
    drops.write()
    assert ingest(drops, DAY)[0].rows == 1
    drops.source["path"] = "data:drops"
    drops.write()
    folder = drops.settings.data_dir / "drops"
    folder.mkdir()
    (folder / "b.jsonl").write_text('{"id": 2}\n{"id": 3}\n', encoding="utf-8")
    assert ingest(drops, NEXT)[0].rows == 2


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("a.csv", "*.csv", True),
        ("x/a.csv", "*.csv", False),
        ("x/a.csv", "*/*.csv", True),
        ("x/y/a.csv", "**/*.csv", True),
        ("a.csv", "**/*.csv", True),
        ("x/a.csv", "x/a.*", True),
    ],
)
def test_patterns_mean_the_same_everywhere(tmp_path, name, pattern, fits):
    local = tmp_path / "drops" / name
    local.parent.mkdir(parents=True)
    local.write_bytes(b"x")
    remote = storage.RemoteFolder(fsspec.filesystem("file"), (tmp_path / "drops").as_uri())
    for folder in (storage.LocalFolder(tmp_path / "drops"), remote):
        assert [entry.name for entry in folder.entries(pattern)] == ([name] if fits else [])


def test_a_copy_s_name_cannot_lead_out_of_the_workspace(tmp_path):
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe("/wild/x/..%2f..%2fevil.csv", b"id\n")
    folder = storage.RemoteFolder(filesystem, "memory://wild")
    [entry] = folder.entries("**/*")
    copy = folder.local(entry, tmp_path)
    assert copy.parent == tmp_path / "fetched"
    assert copy.suffix == ".csv"
    filesystem.rm("/wild", recursive=True)
