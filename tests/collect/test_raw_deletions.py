"""Raw's state is what the source said last, whatever the order and the parts it came in."""

import datetime as dt
import hashlib
import json
import shutil
from dataclasses import asdict

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from customer360 import landing, raw
from customer360.config import load_config
from customer360.exceptions import SourceError

FIRST = dt.date(2026, 1, 1)
KEYS = range(4)


@pytest.fixture
def notes(company):
    company.config["policies"].pop("trust")  # it names fields of another company
    company.config["sources"]["sources"] = {
        "shop": {
            "title": "Shop", "owner": "Ann", "stage": "basic", "format": "postgres",
            "connection": "shop",
            "tables": {
                "notes": {
                    "key": ["id"],
                    "cursor": {"column": "changed_at"},
                    "deletes": {"every_days": 1},
                    "columns": {
                        "id": {"type": "bigint", "required": True},
                        "body": {"type": "text"},
                        "changed_at": {"type": "timestamp", "required": True, "zone": "UTC"},
                    },
                }
            },
        }
    }  # fmt: skip
    company.config["sources"]["time_zone"] = "UTC"
    company.config["sources"]["first_day"] = "2026-01-01"
    company.config["sources"].pop("last_day", None)
    company.write()
    return company


def land(company, day, number, rows, keys=None):
    """A batch as a connector would have landed it; rows: (id, body, day of the cursor)."""
    content = hashlib.sha256(repr((rows, keys)).encode()).hexdigest()
    end = dt.datetime.combine(FIRST + dt.timedelta(days=day + 1), dt.time())
    batch = landing.Batch(
        source="shop", table="notes", as_of=(FIRST + dt.timedelta(days=day)).isoformat(),
        batch=f"{number:04d}-{content[:12]}", mode="window", cursor_from=None,
        cursor_to=end.isoformat(), rows=len(rows), rejects=0, content=content, sha256={},
        columns={"id": "BIGINT", "body": "VARCHAR", "changed_at": "TIMESTAMP"},
        landed_at="2026-01-01T00:00:00+00:00", is_sweep=keys is not None,
    )  # fmt: skip
    folder = batch.folder(company.settings)
    folder.mkdir(parents=True)
    moments = [dt.datetime.combine(FIRST, dt.time(12)) + dt.timedelta(days=row[2]) for row in rows]
    pq.write_table(
        pa.table(
            {
                "_position": pa.array(range(1, len(rows) + 1), pa.int64()),
                "id": pa.array([row[0] for row in rows], pa.int64()),
                "body": pa.array([row[1] for row in rows], pa.string()),
                "changed_at": pa.array(moments, pa.timestamp("us")),
            }
        ),
        folder / "rows.parquet",
    )
    if keys is not None:
        pq.write_table(pa.table({"id": pa.array(keys, pa.int64())}), folder / "keys.parquet")
    for file in folder.iterdir():
        batch.sha256[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(asdict(batch)))


def load(company):
    return raw.load(company.settings, load_config(company.settings), FIRST, "run")["shop"]


def query(company, sql):
    with duckdb.connect(str(company.settings.raw_path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def versions(company):
    return query(company, "select columns(c -> c <> '_batch') from shop.notes order by all")


def state(company, day):
    """As staging reads it."""
    end = FIRST + dt.timedelta(days=day + 1)
    rows = query(
        company,
        f"select id, body from (select * from shop.notes where _version_at < timestamp '{end}' "
        "qualify row_number() over (partition by id "
        "order by _version_at desc, _as_of desc, _row_hash desc) = 1) where not _is_deleted",
    )
    return dict(rows)


def test_a_deleted_row_that_comes_back_is_there_again(notes):
    land(notes, 0, 1, [(1, "a", 0), (2, "b", 0)], keys=[1, 2])
    land(notes, 1, 1, [], keys=[2])
    land(notes, 2, 1, [(1, "a", 0)], keys=[1, 2])
    load(notes)
    assert [state(notes, day) for day in range(3)] == [
        {1: "a", 2: "b"},
        {2: "b"},
        {1: "a", 2: "b"},
    ]


def test_a_sweep_that_is_loaded_before_an_older_batch_still_holds(notes):
    land(notes, 2, 1, [], keys=[2])
    load(notes)
    land(notes, 0, 1, [(1, "a", 0), (2, "b", 0)])
    load(notes)
    assert [state(notes, day) for day in range(3)] == [{1: "a", 2: "b"}] * 2 + [{2: "b"}]


def test_of_two_contents_with_one_cursor_the_one_read_last_is_the_state(notes):
    for day, body in enumerate("abab"):
        land(notes, day, 1, [(1, body, 0)])
    load(notes)
    assert [state(notes, 3), load(notes)["duplicates"]] == [{1: "b"}, 0]
    assert len(versions(notes)) == 4


def test_a_row_whose_key_is_refused_is_not_a_deletion(notes):
    """The row stands in quarantine; the source still has it."""
    notes.table("shop", "notes")["columns"]["body"]["allowed"] = ["a"]
    notes.write()
    land(notes, 0, 1, [(1, "a", 0)], keys=[1])
    land(notes, 1, 1, [(1, "strange", 1)], keys=[1])
    load(notes)
    assert state(notes, 1) == {1: "a"}


def test_altered_keys_are_refused(notes):
    land(notes, 0, 1, [(1, "a", 0)], keys=[1])
    next(notes.settings.landing_dir.rglob("keys.parquet")).write_bytes(b"PAR1")
    with pytest.raises(SourceError, match="keys.parquet is missing or is not what"):
        load(notes)


@st.composite
def lives(draw):
    """A source's rows at the end of each of four days: id -> (body, day of the cursor)."""
    days, rows = [], {}
    for day in range(4):
        rows = dict(rows)
        for key in KEYS:
            act = draw(st.sampled_from(["nothing", "update", "correct", "delete", "insert"]))
            if act == "delete":
                rows.pop(key, None)
            elif act == "update" and key in rows:
                rows[key] = (f"{key} on {day}", day)
            elif act == "correct" and key in rows:
                # The content changes, and whoever changed it forgot the cursor.
                rows[key] = (draw(st.sampled_from("xy")), rows[key][1])
            elif act == "insert" and key not in rows:
                rows[key] = (draw(st.sampled_from("xy")), draw(st.integers(0, day)))
        days.append(rows)
    return days


def end_in_the_state_of_the_source(notes, data, life):
    """Land a life in order, and in some order and parts: both end as the source does."""
    batches = []
    for day, rows in enumerate(life):
        every = [(key, *row) for key, row in rows.items()]
        doubled = every + data.draw(st.lists(st.sampled_from(every))) if every else []
        cut = data.draw(st.integers(0, len(doubled)))
        batches.append((day, 1, doubled[:cut], None))
        batches.append((day, 2, doubled[cut:], sorted(rows)))
    ends = []
    for order, stops in (
        (batches, set()),
        (data.draw(st.permutations(batches)), data.draw(st.sets(st.integers(0, 7), max_size=3))),
    ):
        shutil.rmtree(notes.settings.data_dir, ignore_errors=True)
        for number, batch in enumerate(order):
            land(notes, *batch)
            if number in stops:
                load(notes)
        load(notes)
        ends.append(versions(notes))
        # Earlier days may know of late rows since; the last is what the source shows.
        assert state(notes, 3) == {key: row[0] for key, row in life[-1].items()}
    assert ends[0] == ends[1]


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), life=lives())
def test_orders_and_parts_end_in_the_state_of_the_source(notes, data, life):
    end_in_the_state_of_the_source(notes, data, life)


@pytest.mark.faults
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), life=lives())
def test_any_order_and_any_parts_end_in_the_state_of_the_source(notes, data, life):
    end_in_the_state_of_the_source(notes, data, life)
