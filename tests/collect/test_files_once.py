"""File drops: each file is taken once by its content, whatever its name and whenever it comes."""

import datetime as dt
import json
import os

import pytest

from customer360 import landing, raw
from customer360.config import load_config
from customer360.exceptions import SourceError
from tests.collect.files_company import ingest, load, query, state

DAY = dt.date(2026, 6, 1)
NEXT = dt.date(2026, 6, 2)
LATER = dt.date(2026, 6, 3)


def put(drops, name, rows):
    drops.put(name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def names(batch):
    return [file.name for file in batch.files]


def test_a_file_is_taken_once_and_a_nightly_run_reads_only_what_is_new(drops):
    put(drops, "a_20260601.jsonl", [{"id": 1, "name": "甲"}])
    first, _ = ingest(drops, DAY)
    assert names(first) == ["a_20260601.jsonl"]
    assert [file.rows for file in first.files] == [1]
    put(drops, "a_20260602.jsonl", [{"id": 2, "name": "乙"}])
    second, _ = ingest(drops, NEXT)
    assert names(second) == ["a_20260602.jsonl"]
    load(drops)
    assert state(drops) == [(1, "甲"), (2, "乙")]


def test_the_same_bytes_under_another_name_or_date_are_not_taken_again(drops):
    put(drops, "a_20260601.jsonl", [{"id": 1, "name": "甲"}])
    ingest(drops, DAY)
    put(drops, "a_20260601_1.jsonl", [{"id": 1, "name": "甲"}])
    os.utime(drops.files / "a_20260601.jsonl", (1, 1))
    batch, _ = ingest(drops, NEXT)
    assert (batch.rows, names(batch)) == (0, [])


def test_two_copies_that_come_together_are_one(drops):
    for name in ("a_20260601.jsonl", "b_20260601.jsonl"):
        put(drops, name, [{"id": 1, "name": "甲"}])
    assert ingest(drops, DAY)[0].rows == 1


def test_a_late_file_is_taken_by_the_run_that_first_sees_it(drops):
    put(drops, "a_20260602.jsonl", [{"id": 2, "name": "乙"}])
    ingest(drops, NEXT)
    put(drops, "a_20260601.jsonl", [{"id": 1, "name": "甲"}])
    assert names(ingest(drops, LATER)[0]) == ["a_20260601.jsonl"]


def test_files_of_later_days_are_left_for_their_own_run(drops):
    for day in ("20260601", "20260602"):
        put(drops, f"a_{day}.jsonl", [{"id": int(day), "name": day}])
    put(drops, "history.jsonl", [{"id": 0, "name": "old"}])
    assert names(ingest(drops, DAY)[0]) == ["a_20260601.jsonl", "history.jsonl"]
    assert names(ingest(drops, NEXT)[0]) == ["a_20260602.jsonl"]


def test_a_rerun_of_a_day_takes_the_same_files_again(drops):
    put(drops, "a_20260601.jsonl", [{"id": 1, "name": "甲"}])
    first, is_new = ingest(drops, DAY)
    assert is_new
    assert ingest(drops, DAY) == (first, False)
    put(drops, "b_20260601.jsonl", [{"id": 2, "name": "乙"}])
    again, is_new = ingest(drops, DAY)
    assert is_new
    assert names(again) == ["a_20260601.jsonl", "b_20260601.jsonl"]
    load(drops)
    assert state(drops) == [(1, "甲"), (2, "乙")]


def test_a_rerun_whose_files_were_moved_away_keeps_what_the_day_took(drops):
    put(drops, "a_20260601.jsonl", [{"id": 1, "name": "甲"}])
    first, _ = ingest(drops, DAY)
    (drops.files / "a_20260601.jsonl").unlink()
    put(drops, "b_20260601.jsonl", [{"id": 2, "name": "乙"}])
    assert ingest(drops, DAY) == (first, False)
    assert names(ingest(drops, NEXT)[0]) == ["b_20260601.jsonl"]
    load(drops)
    assert state(drops) == [(1, "甲"), (2, "乙")]


def test_a_refused_batch_is_replaced_when_its_file_is(drops):
    put(drops, "a_20260601.jsonl", [{"id": 1, "name": "wrong"}])
    ingest(drops, DAY)
    load(drops, approve=False)
    raw.refuse(drops.settings)
    (drops.files / "a_20260601.jsonl").unlink()
    put(drops, "b_20260601.jsonl", [{"id": 1, "name": "right"}])
    ingest(drops, DAY)
    load(drops)
    assert state(drops) == [(1, "right")]


def test_a_day_without_a_new_file_is_a_batch_of_no_rows(drops):
    put(drops, "a_20260601.jsonl", [{"id": 1, "name": "甲"}])
    ingest(drops, DAY)
    for day in (NEXT, LATER):
        batch, is_new = ingest(drops, day)
        assert (batch.rows, batch.as_of, is_new) == (0, day.isoformat(), True)
    load(drops)
    assert state(drops) == [(1, "甲")]


def test_a_table_that_never_had_a_file_says_so(drops):
    with pytest.raises(SourceError, match="no file at"):
        ingest(drops, DAY)


def test_what_is_not_whole_or_hidden_is_passed_over(drops):
    put(drops, "a_20260601.jsonl", [{"id": 1, "name": "甲"}])
    drops.table["file"] = "**/*"
    drops.write()
    for name in ("b.jsonl.part", ".hidden.jsonl", ".aside/c.jsonl", "~$book.xlsx"):
        put(drops, name, [{"id": 9, "name": "no"}])
    assert names(ingest(drops, DAY)[0]) == ["a_20260601.jsonl"]


def test_a_key_that_comes_again_is_updated_and_no_other_is_deleted(drops):
    put(drops, "a_20260601.jsonl", [{"id": 1, "name": "甲"}, {"id": 2, "name": "乙"}])
    ingest(drops, DAY)
    put(drops, "a_20260602.jsonl", [{"id": 2, "name": "x"}, {"id": 2, "name": "丙"}])
    ingest(drops, NEXT)
    load(drops)
    assert state(drops) == [(1, "甲"), (2, "丙")]
    assert state(drops, DAY) == [(1, "甲"), (2, "乙")]


def test_a_value_that_comes_back_is_the_last_one(drops):
    put(drops, "a_20260601.jsonl", [{"id": 1, "name": "甲"}])
    ingest(drops, DAY)
    put(drops, "a_20260602.jsonl", [{"id": 1, "name": "乙"}, {"id": 1, "name": "甲"}])
    ingest(drops, NEXT)
    load(drops)
    assert state(drops) == [(1, "甲")]


def test_the_order_in_which_days_are_ingested_and_loaded_does_not_matter(drops):
    put(drops, "a_20260601.jsonl", [{"id": 1, "name": "甲"}, {"id": 2, "name": "乙"}])
    put(drops, "a_20260602.jsonl", [{"id": 1, "name": "丙"}])
    ingest(drops, NEXT)
    load(drops)
    ingest(drops, DAY)
    load(drops)
    assert state(drops, DAY) == [(1, "甲"), (2, "乙")]
    assert state(drops) == [(1, "丙"), (2, "乙")]


def test_rows_of_files_taken_once_need_not_lie_in_the_window(drops):
    drops.table["columns"]["at"] = {"type": "timestamp", "required": True, "zone": "UTC"}
    drops.table["cursor"] = {"column": "at"}
    drops.write()
    put(drops, "a_20260601.jsonl", [{"id": 1, "name": "甲", "at": "2026-06-01 10:00:00"}])
    ingest(drops, DAY)
    put(
        drops,
        "a_20260602.jsonl",
        [
            {"id": 2, "name": "late", "at": "2025-01-01 00:00:00"},
            {"id": 3, "name": "early", "at": "2026-06-09 00:00:00"},
        ],
    )
    assert ingest(drops, NEXT)[0].rows == 2


def test_a_file_that_changes_while_it_is_read_is_refused(drops, monkeypatch):
    put(drops, "a_20260601.jsonl", [{"id": 1, "name": "甲"}])
    from customer360.sources import files

    real = files.json_relation

    def slow(*arguments, **options):
        put(drops, "a_20260601.jsonl", [{"id": 1, "name": "甲"}, {"id": 2, "name": "乙"}])
        return real(*arguments, **options)

    monkeypatch.setattr(files, "json_relation", slow)
    with pytest.raises(SourceError, match="changed while it was read"):
        ingest(drops, DAY)
    assert landing.batches(drops.settings) == []


def test_files_and_links_outside_the_folder_are_refused(drops):
    outside = drops.root / "outside.jsonl"
    outside.write_text('{"id": 1}\n', encoding="utf-8")
    (drops.files / "a.jsonl").symlink_to(outside)
    with pytest.raises(SourceError, match="leads out of"):
        ingest(drops, DAY)
    (drops.files / "a.jsonl").unlink()
    drops.table["file"] = "../outside.jsonl"
    drops.write()
    with pytest.raises(SourceError, match="leads out of"):
        ingest(drops, DAY)


def test_quarantine_names_file_and_line(drops):
    put(drops, "a_20260601.jsonl", [{"id": 1, "name": "甲"}, {"name": "without id"}])
    drops.put("b_20260601.jsonl", '{"id": 2}\n{"id": 3\n')
    (batch, _) = ingest(drops, DAY)
    assert (batch.rows, batch.rejects) == (3, 1)
    totals = load(drops)["drops"]
    assert (totals["read"], totals["loaded"], totals["quarantined"]) == (4, 2, 2)
    found = query(drops, "select file, position, reason from meta.quarantine order by all")
    assert found == [
        ("a_20260601.jsonl", 2, "id is empty and is required"),
        ("b_20260601.jsonl", 2, "is not JSON"),
    ]


def test_only_new_files_are_hashed(drops, monkeypatch):
    for number in range(5):
        put(drops, f"a{number}.jsonl", [{"id": number, "name": "x"}])
    ingest(drops, DAY)
    put(drops, "new.jsonl", [{"id": 9, "name": "x"}])
    from customer360.sources import files

    hashed = []
    real = files.hashlib.file_digest

    def counted(stream, kind):
        hashed.append(stream.name)
        return real(stream, kind)

    monkeypatch.setattr(files.hashlib, "file_digest", counted)
    ingest(drops, NEXT)
    assert [name.split("/")[-1] for name in hashed if name.endswith(".jsonl")] == ["new.jsonl"]


def test_the_config_of_the_drops_is_valid(drops):
    assert load_config(drops.settings).sources.sources["drops"].format == "json_lines"
