"""What the content hash and the difference promise, on tables that hypothesis makes."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as trials
from hypothesis import strategies as st

from customer360 import content
from customer360.exceptions import PublishError
from tests.publish.company import DAY, make_settings, publish_run, publish_tables

COLUMNS = ("name varchar", "amount decimal(38,2)", "seen_on date", "score double", "tags varchar[]")
CELLS = (
    st.none()
    | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=4),
    st.none() | st.decimals(-(10**30), 10**30, places=2),
    st.none() | st.dates(dt.date(1990, 1, 1), dt.date(2030, 1, 1)),
    st.none() | st.floats(allow_nan=False),
    st.none() | st.lists(st.text("a,'[NUL]", max_size=4), max_size=3),
)
ROWS = st.lists(st.tuples(*CELLS), max_size=6)
quick = trials(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Bench:
    """Hashes tables that are written into one file of a folder."""

    def __init__(self, folder: Path) -> None:
        self.settings = make_settings(folder)
        self.folder = folder

    def hashes(self, *tables: list[tuple[Any, ...]], order: int = 1) -> list[str]:
        """Of tables with these rows; ``order`` -1 writes the columns from last to first."""
        path = self.folder / "hashed.duckdb"
        path.unlink(missing_ok=True)
        with duckdb.connect(str(path), config={"threads": 1}) as connection:
            for number, rows in enumerate(tables):
                connection.execute(f"create table t{number} ({', '.join(COLUMNS[::order])})")
                for row in rows:
                    values = list(row[::order])
                    connection.execute(f"insert into t{number} values (?, ?, ?, ?, ?)", values)
        found = content.snapshot_hash(path, self.settings)["tables"]
        return [found[f"t{number}"]["hash"] for number in range(len(tables))]


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@quick
@given(rows=ROWS, data=st.data())
def test_the_hash_does_not_depend_on_the_order_of_rows_or_columns(bench, rows, data):
    shuffled = data.draw(st.permutations(rows))
    one, other = bench.hashes(rows, shuffled)
    assert one == other
    assert [one] == bench.hashes(rows, order=-1)


@quick
@given(rows=ROWS.filter(bool), data=st.data())
def test_changing_one_cell_changes_the_hash(bench, rows, data):
    number = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(0, len(CELLS) - 1))
    cell = data.draw(CELLS[column])
    assume(repr(cell) != repr(rows[number][column]))
    assume(not isinstance(cell, Decimal) or cell != rows[number][column])  # -0 and 0 are one
    changed = list(rows)
    changed[number] = (*rows[number][:column], cell, *rows[number][column + 1 :])
    one, other = bench.hashes(rows, changed)
    assert one != other


@quick
@given(rows=ROWS.filter(bool), data=st.data())
def test_duplicates_are_counted(bench, rows, data):
    twice = data.draw(st.sampled_from(rows))
    assert len(set(bench.hashes(*(rows + [twice] * copies for copies in range(4))))) == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select null::varchar as a", "select 'null' as a"),
        ("select 'x' as a, 'y,z' as b", "select 'x,y' as a, 'z' as b"),
        ("select 1::integer as a", "select 1::bigint as a"),
        ("select 1 as a", "select 1 as b"),
        ("select 1 as a where false", "select 1 as b where false"),
        (
            "select 12345678901234567.89::decimal(38,2) as a",
            "select 12345678901234567.88::decimal(38,2) as a",
        ),
        ("select 0.1::double as a", "select 0.1::double + 1e-17::double * 2 as a"),
    ],
)
def test_contents_that_look_alike_have_different_hashes(settings, tmp_path, one, other):
    hashes = set()
    for number, query in enumerate((one, other)):
        with duckdb.connect(str(tmp_path / f"{number}.duckdb")) as connection:
            connection.execute(f"create table facts as {query}")
        hashes.add(content.snapshot_hash(tmp_path / f"{number}.duckdb", settings)["hash"])
    assert len(hashes) == 2


def test_the_hash_forgets_run_ids_the_clock_and_volatile_tables(settings):
    hashes = []
    for run_id in ("one", "two"):
        info = {
            "model_versions": {"churn": "7"},
            "tables": {
                "customers": {"volatile": ["run_id"]},
                "churn_risk": {"kind": "scores", "volatile": ["run_id"]},
                "gate_results": {"kind": "volatile"},
            },
        }
        path = publish_tables(
            settings,
            run_id,
            DAY,
            info,
            customers=f"select 'c1' as customer_id, '{run_id}' as run_id",
            churn_risk=f"select 'c1' as customer_id, 0.5 as score, '{run_id}' as run_id",
            gate_results=f"select '{run_id}' as run_id",
        )
        hashes.append(content.snapshot_hash(path, settings))
    assert hashes[0] == hashes[1]
    assert set(hashes[0]["tables"]) == {"customers", "churn_risk"}
    assert hashes[0]["model_versions"] == {"churn": "7"}


def test_scores_are_hashed_apart_from_data(settings):
    info = {"tables": {"churn_risk": {"kind": "scores"}}}
    found = []
    for run_id, score in (("one", 0.5), ("two", 0.6)):
        path = publish_tables(
            settings,
            run_id,
            DAY,
            info,
            customers="select 'c1' as customer_id",
            churn_risk=f"select 'c1' as customer_id, {score} as churn_probability",
        )
        found.append(content.snapshot_hash(path, settings))
    assert found[0]["data"] == found[1]["data"]
    assert found[0]["scores"] != found[1]["scores"]
    assert found[0]["hash"] != found[1]["hash"]


KEYED = st.dictionaries(st.integers(0, 8), st.none() | st.integers(0, 2), max_size=8)


@trials(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=KEYED, after=KEYED)
def test_the_difference_counts_what_was_added_changed_and_removed(bench, before, after):
    paths = []
    for name, rows in (("older", before), ("newer", after)):
        path = bench.folder / f"{name}.duckdb"
        path.unlink(missing_ok=True)
        with duckdb.connect(str(path)) as connection:
            connection.execute("create table keyed (id integer, score integer)")
            connection.execute("create table keyless as select * from keyed")
            connection.execute(
                f"create table {content.TABLES_TABLE} as select 'keyed' as name, 'data' as kind,"
                " ['id'] as key, []::varchar[] as volatile, 0 as rows"
            )
            for row in rows.items():
                connection.execute("insert into keyed values (?, ?)", list(row))
            connection.execute("insert into keyless from keyed union all from keyed")
        paths.append(path)
    found = content.snapshot_diff(*paths, bench.settings)["tables"]
    changed = sum(before[key] != after[key] for key in before.keys() & after.keys())
    added, removed = len(after.keys() - before.keys()), len(before.keys() - after.keys())
    assert found["keyed"] == {"added": added, "changed": changed, "removed": removed, "key": ["id"]}
    assert found["keyless"] == {
        "added": 2 * (added + changed),
        "changed": 0,
        "removed": 2 * (removed + changed),
        "key": [],
    }


def test_the_difference_tells_tables_columns_and_customers(settings):
    older = publish_tables(
        settings,
        "one",
        DAY,
        {"tables": {"customers": {"key": ["customer_id"], "volatile": ["run_id"]}}},
        customers="select 'c1' as customer_id, 1 as visits, 'one' as run_id, 'x' as gone",
        dropped="select 1 as a union all select 2",
        customer_id_map="select 'c8' as old_id, 'c9' as new_id, 'merge' as reason",
    )
    newer = publish_tables(
        settings,
        "two",
        DAY,
        {"tables": {"customers": {"key": ["customer_id"], "volatile": ["run_id"]}}},
        customers="select 'c1' as customer_id, 1::bigint as visits, 'two' as run_id, 'y' as come",
        created="select 1 as a",
        customer_id_map="select * from (values ('c8', 'c9', 'merge'), ('c2', 'c1', 'merge'),"
        " ('c3', 'c1', 'merge'), ('c4', 'c5', 'split'), ('c4', 'c6', 'split'))"
        " as map(old_id, new_id, reason)",
    )
    found = content.snapshot_diff(older, newer, settings)
    assert found["tables"]["customers"] == {
        "added": 0,
        "changed": 0,
        "removed": 0,
        "key": ["customer_id"],
        "columns_added": ["come"],
        "columns_removed": ["gone"],
        "columns_retyped": ["visits"],
    }
    assert found["tables"]["dropped"]["removed"] == 2
    assert (found["tables_added"], found["tables_removed"]) == (["created"], ["dropped"])
    assert found["customers"] == {"merged": 2, "split": 1}
    json.dumps(found)


def test_a_declared_key_that_is_not_unique_falls_back_to_whole_rows(settings):
    info = {"tables": {"lines": {"key": ["order_id"]}}}
    older = publish_tables(settings, "one", DAY, info, lines="select 1 as order_id, 1 as qty")
    newer = publish_tables(
        settings, "two", DAY, info, lines="select 1 as order_id, unnest([1, 2]) as qty"
    )
    found = content.snapshot_diff(older, newer, settings)
    assert found["tables"]["lines"] == {"added": 1, "changed": 0, "removed": 0, "key": []}


def test_a_file_that_is_no_database_is_named(settings, tmp_path):
    path = tmp_path / "notes.duckdb"
    path.write_text("not a database" * 1000)
    with pytest.raises(PublishError, match=r"notes\.duckdb cannot be read"):
        content.snapshot_hash(path, settings)


def test_equal_runs_have_equal_hashes_whenever_they_ran(settings):
    hashes = [content.snapshot_hash(publish_run(settings, name), settings) for name in ("a", "b")]
    assert hashes[0] == hashes[1]
