import csv
import datetime as dt
import hashlib
import json
import subprocess
import sys

import duckdb
import jsonschema
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trials
from hypothesis import strategies as st

from customer360 import state
from customer360.activation.declared import (
    CHURN_ALERTS,
    CUSTOMER_ID_MAP,
    SEGMENT_MEMBERS,
    Export,
)
from customer360.activation.exports import export, export_all
from customer360.activation.ledger import acknowledge, entries
from customer360.config import ExportPolicy
from customer360.exceptions import BusyError, ExportError
from tests.publish.company import DAY, make_settings, open_state, publish_tables

WEEK = dt.timedelta(days=7)
MEMBERS = Export("segment_members", key=("customer_id", "segment"))

ALERTS = (
    "select 'c1' as customer_id, 'a1' as alert_id, 'lapse' as kind, date '2026-02-20' as started_on,"
    " 'buys less often' as reason_1, 'last visit 9 weeks ago' as reason_2,"
    " null::varchar as reason_3, 12000::bigint as value_at_risk_cents, 'store 7' as owner,"
    " 'call' as suggested_action, date '2026-03-20' as expires_on"
)


def values(rows, columns="customer_id, segment, score") -> str:
    """A query that gives ``rows``; typed also where there are none."""
    typed = "select null::varchar as a, null::varchar as b, null::integer as c where false"
    listed = "".join(
        f" union all select {', '.join('null' if v is None else repr(v) for v in row)}"
        for row in rows
    )
    return f"select * from ({typed}{listed}) as members({columns})"


def run_export(settings, run_id, as_of, rows, wanted=MEMBERS, policy=None, **tables):
    snapshot = publish_tables(
        settings,
        run_id,
        as_of,
        {},
        **{wanted.name: values(rows)} if rows is not None else {},
        **tables,
    )
    return export(settings, open_state(settings), snapshot, wanted, as_of, run_id, policy)


def read(path, name) -> list[tuple]:
    return duckdb.sql(f"from '{path / name}.parquet'").fetchall()


def manifest(path) -> dict:
    return json.loads((path / "manifest.json").read_text())


def test_the_first_export_says_everything_is_added(settings):
    result = run_export(settings, "one", DAY, [("c2", "vip", 1), ("c1", "new", None)])
    assert (result.status, result.rows, result.added) == ("written", 2, 2)
    assert result.path == settings.exports_dir / "segment_members" / "2026-03-01"
    assert read(result.path, "full") == [("c1", "new", None), ("c2", "vip", 1)]
    assert read(result.path, "changes") == [
        ("c1", "added", "new", None),
        ("c2", "added", "vip", 1),
    ]
    assert manifest(result.path)["previous_export"] is None


def test_changes_lead_from_the_last_export_to_this_one(settings):
    first = run_export(settings, "one", DAY, [("a", "s", 1), ("b", "s", 2), ("c", "s", None)])
    second = run_export(
        settings, "two", DAY + WEEK, [("a", "s", 1), ("b", "s", 3), ("d", "s", None)]
    )
    assert read(second.path, "changes") == [
        ("b", "changed", "s", 3),
        ("c", "removed", "s", None),
        ("d", "added", "s", None),
    ]
    assert (second.added, second.changed, second.removed) == (1, 1, 1)
    previous = manifest(second.path)["previous_export"]
    assert previous["sha256"] == sha256(first.path / "full.parquet")
    assert (first.path.parent / previous["path"]).resolve() == first.path.resolve()


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_folder_has_the_promised_shape(settings):
    result = run_export(settings, "one", DAY, [("+8613800000000", "=vip", 1), ("", "s", 2)])
    said = manifest(result.path)
    files = {"full.parquet", "full.csv", "changes.parquet", "changes.csv"}
    assert {path.name for path in result.path.iterdir()} == files | {"manifest.json", "_SUCCESS"}
    assert (said["run_id"], said["as_of"], said["schema_version"]) == ("one", "2026-03-01", 1)
    assert {name: entry["sha256"] for name, entry in said["files"].items()} == {
        name: sha256(result.path / name) for name in files
    }
    assert said["files"]["full.csv"]["rows"] == said["rows"] == 2
    with (result.path / "full.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [list(row) for row in rows] == [["customer_id", "segment", "score"]] * 2
    assert rows[1] == {"customer_id": "+8613800000000", "segment": "=vip", "score": "1"}
    with (result.path / "changes.csv").open() as handle:
        assert next(csv.reader(handle)) == ["customer_id", "change", "segment", "score"]
    assert (result.path / "_SUCCESS").read_text().strip() == sha256(result.path / "manifest.json")


def test_rows_obey_the_json_schema_of_the_manifest(settings):
    wanted = Export("things")
    query = (
        "select 'c1' as customer_id, 1.5::decimal(9,2) as amount, 2::bigint as visits, true as ok,"
        " date '2026-01-01' as since_on, timestamp '2026-01-01 10:00' as seen_at, ['a'] as tags,"
        " null::double as share, {'a': 1} as detail"
    )
    snapshot = publish_tables(settings, "one", DAY, {}, things=query)
    result = export(settings, open_state(settings), snapshot, wanted, DAY, "one")
    schema = manifest(result.path)["row_schema"]
    cursor = duckdb.sql(f"select to_json(rows) from '{result.path}/full.parquet' as rows")
    for (row,) in cursor.fetchall():
        jsonschema.validate(json.loads(row), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"customer_id": None}, schema)
    assert '"[""a""]"' in (result.path / "full.csv").read_text()
    assert "2026-01-01T10:00:00.000000Z" in (result.path / "full.csv").read_text()


def test_a_rerun_with_nothing_new_is_an_empty_change_and_the_first_changes_stay_reachable(settings):
    rows = [("a", "s", 1)]
    first = run_export(settings, "one", DAY, rows)
    kept = first.path.resolve()
    second = run_export(settings, "two", DAY, rows)
    assert (second.status, second.added, second.changed, second.removed) == ("written", 0, 0, 0)
    assert read(second.path, "changes") == []
    assert read(second.path, "full") == [("a", "s", 1)]
    # A tool that had not yet picked up the first finds it where the second says.
    missed = second.path.parent / manifest(second.path)["previous_export"]["path"]
    assert missed.resolve() == kept
    assert read(missed, "changes") == [("a", "added", "s", 1)]


def test_a_retry_of_the_same_run_leaves_the_export_as_it_is(settings, engine):
    first = run_export(settings, "one", DAY, [("a", "s", 1)])
    kept = first.path.resolve()
    again = run_export(settings, "one", DAY, [("a", "s", 1)])
    assert again.status == "unchanged"
    assert again.path.resolve() == kept
    assert (again.rows, again.added) == (1, 1)
    assert len(entries(engine, "segment_members")) == 1
    other = run_export(settings, "one", DAY, [("a", "s", 2)])
    assert (other.status, other.changed) == ("written", 1)


def test_until_the_receiver_acknowledges_changes_are_repeated(settings, engine):
    policy = ExportPolicy(acknowledge="by_receiver")
    first = run_export(settings, "one", DAY, [("a", "s", 1)], policy=policy)
    held = sha256(first.path / "full.parquet")
    second = run_export(settings, "two", DAY, [("a", "s", 1), ("b", "s", 1)], policy=policy)
    assert [row[0] for row in read(second.path, "changes")] == ["a", "b"]
    acknowledge(engine, "segment_members", held)
    third = run_export(settings, "three", DAY + WEEK, [("b", "s", 1)], policy=policy)
    assert read(third.path, "changes") == [("a", "removed", "s", None), ("b", "added", "s", 1)]
    with pytest.raises(ExportError, match="no export segment_members has"):
        acknowledge(engine, "segment_members", "0" * 64)


def test_an_older_day_exports_nothing_and_says_so(settings, engine):
    run_export(settings, "one", DAY + WEEK, [("a", "s", 1)])
    late = run_export(settings, "late", DAY, [("b", "s", 1)])
    assert (late.status, late.path) == ("held_back", None)
    assert "receivers already hold 2026-03-08" in late.message
    assert not (settings.exports_dir / "segment_members" / "2026-03-01").exists()
    assert len(entries(engine)) == 1


@pytest.mark.parametrize("damage", ["gone", "altered"])
def test_an_export_that_was_lost_or_altered_is_an_error_or_restated_by_policy(settings, damage):
    first = run_export(settings, "one", DAY, [("a", "s", 1)])
    full = first.path / "full.parquet"
    if damage == "gone":
        full.unlink()
    else:
        full.chmod(0o644)
        full.write_bytes(full.read_bytes() + b" ")
    with pytest.raises(ExportError, match="gone or altered since it was delivered"):
        run_export(settings, "two", DAY + WEEK, [("a", "s", 1)])
    restated = run_export(
        settings, "three", DAY + WEEK, [("a", "s", 1)], policy=ExportPolicy(lost_previous="restate")
    )
    said = manifest(restated.path)
    assert (said["restated"], said["previous_export"], restated.added) == (True, None, 1)


def test_an_overtaken_run_exports_nothing(settings, engine):
    snapshot = publish_tables(settings, "old", DAY, {}, segment_members=values([("a", "s", 1)]))
    state.begin_run(engine, "new", DAY)
    with pytest.raises(BusyError, match="overtaken"):
        export(settings, engine, snapshot, MEMBERS, DAY, "old")
    assert not settings.exports_dir.exists()


def test_another_column_raises_the_schema_version_and_changes_every_row(settings):
    run_export(settings, "one", DAY, [("a", "s", 1)])
    wider = "select 'a' as customer_id, 's' as segment, 1 as score, null::varchar as note"
    snapshot = publish_tables(settings, "two", DAY + WEEK, {}, segment_members=wider)
    engine = open_state(settings)
    result = export(settings, engine, snapshot, MEMBERS, DAY + WEEK, "two")
    assert manifest(result.path)["schema_version"] == 2
    assert result.changed == 1
    narrow = "select 'a' as customer_id, 's' as segment"
    snapshot = publish_tables(settings, "three", DAY + WEEK, {}, segment_members=narrow)
    result = export(settings, engine, snapshot, MEMBERS, DAY + WEEK, "three")
    assert manifest(result.path)["schema_version"] == 3
    assert result.changed == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "s", 1), ("a", "s", 2)], "0 rows without a key and 1 with the key of another"),
        ([("a", None, 1)], "1 rows without a key"),
    ],
)
def test_a_key_that_does_not_tell_rows_apart_is_refused(settings, rows, message):
    with pytest.raises(ExportError, match=message):
        run_export(settings, "one", DAY, rows)


def test_a_missing_column_or_table_is_named(settings, engine):
    snapshot = publish_tables(
        settings,
        "one",
        DAY,
        {},
        churn_alerts="select 'a' as customer_id, 'x' as kind, date '2026-01-01' as started_on",
    )
    with pytest.raises(ExportError, match="churn_alerts needs column alert_id, reason_1, reason_2"):
        export(settings, engine, snapshot, CHURN_ALERTS, DAY, "one")
    with pytest.raises(ExportError, match="no table segment_members"):
        export(settings, engine, snapshot, SEGMENT_MEMBERS, DAY, "one")
    with pytest.raises(ExportError, match="stands for 2026-03-01, not for 2026-03-08"):
        export(settings, engine, snapshot, CUSTOMER_ID_MAP, DAY + WEEK, "one")


def test_volatile_columns_are_not_exported_and_make_no_changes(settings, engine):
    info = {"tables": {"segment_members": {"volatile": ["built_by"]}}}
    for run_id in ("one", "two"):
        query = f"select 'a' as customer_id, 's' as segment, '{run_id}' as built_by"
        snapshot = publish_tables(settings, run_id, DAY, info, segment_members=query)
        result = export(settings, engine, snapshot, MEMBERS, DAY, run_id)
    assert read(result.path, "full") == [("a", "s")]
    assert result.changed == 0


def test_all_exports_of_a_run(settings, engine):
    tables = {"segment_members": values([("a", "s", 1)]), "churn_alerts": ALERTS}
    snapshot = publish_tables(settings, "one", DAY, {}, **tables)
    results = {one.name: one for one in export_all(settings, engine, snapshot, DAY, "one")}
    assert {name: one.rows for name, one in results.items()} == {
        "segment_members": 1,
        "churn_alerts": 1,
        "customer_id_map": 0,
    }
    empty = manifest(results["customer_id_map"].path)
    assert list(empty["row_schema"]["properties"]) == ["old_id", "new_id", "reason"]


def test_what_becomes_of_an_alert_goes_out_under_its_id(settings, engine):
    def alert_rows(run_id, as_of, query):
        snapshot = publish_tables(settings, run_id, as_of, {}, churn_alerts=query)
        result = export(settings, engine, snapshot, CHURN_ALERTS, as_of, run_id)
        return duckdb.sql(f"from '{result.path}/changes.parquet'").fetchall()

    (first,) = alert_rows("one", DAY, ALERTS)
    (later,) = alert_rows("two", DAY + WEEK, ALERTS.replace("9 weeks", "10 weeks"))
    (closed,) = alert_rows("three", DAY + 2 * WEEK, f"{ALERTS} where false")
    assert [row[1] for row in (first, later, closed)] == ["added", "changed", "removed"]
    assert first[2] == later[2] == closed[2] == "a1"


def test_the_spreadsheet_profile_neutralises_formulas_and_marks_its_encoding(settings):
    rows = [("=1+1", "s", -5), ("+86", " @x", 2), ("-1", "客户", 3), ("＝1", "plain-text", 4)]
    result = run_export(settings, "one", DAY, rows, policy=ExportPolicy(spreadsheet=True))
    data = (result.path / "full.spreadsheet.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    lines = data.decode("utf-8-sig").splitlines()
    assert sorted(lines[1:]) == sorted(
        ["'=1+1,s,-5", "'+86,' @x,2", "'-1,客户,3", "'＝1,plain-text,4"]
    )
    assert "+86, @x,2" in (result.path / "full.csv").read_text()
    assert manifest(result.path)["files"]["full.spreadsheet.csv"]["rows"] == 4


def test_old_exports_are_cleared_but_never_what_receivers_hold(settings):
    policy = ExportPolicy(keep_days=0)
    for number in range(3):
        result = run_export(
            settings, str(number), DAY + number * WEEK, [("a", "s", 1)], policy=policy
        )
    home = settings.exports_dir / "segment_members"
    assert [path.name for path in home.glob("2026-*")] == ["2026-03-15"]
    assert [path.name for path in (home / ".versions").iterdir()] == ["2026-03-15-001"]
    assert result.rows == 1


def test_full_disk_is_a_clear_failure_and_the_last_export_stands(settings):
    first = run_export(settings, "one", DAY, [("a", "s", 1)])
    code = (
        "import pathlib, resource, signal, sys\n"
        "from customer360.exceptions import ExportError\n"
        "from tests.activation import test_exports as here\n"
        "settings = here.make_settings(pathlib.Path(sys.argv[1]))\n"
        "query = 'select uuid()::varchar as customer_id from range(300000)'\n"
        "day = here.DAY + here.WEEK\n"
        "snapshot = here.publish_tables(settings, 'two', day, {}, segment_members=query)\n"
        "engine = here.open_state(settings)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))\n"
        "wanted = here.Export('segment_members')\n"
        "try: here.export(settings, engine, snapshot, wanted, day, 'two')\n"
        "except ExportError as error: print(error)\n"
    )
    run = [sys.executable, "-c", code, str(settings.data_dir.parent)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert "The last export stands" in done.stdout
    home = first.path.parent
    assert [path.name for path in home.glob("2026-*")] == ["2026-03-01"]
    assert [path.name for path in (home / ".versions").iterdir()] == ["2026-03-01-001"]


ROWS = st.dictionaries(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(["s", "NULL", "客"])),
    st.none() | st.integers(0, 3),
    max_size=12,
)


def bare_snapshot(settings, run_id, as_of, query):
    """A file that says of itself what an export asks; quicker than publishing."""
    state.begin_run(open_state(settings), run_id, as_of)
    path = settings.data_dir / f"{run_id}.duckdb"
    with duckdb.connect(str(path), config={"threads": 1}) as connection:
        connection.execute(f"create table segment_members as {query}")
        connection.execute(
            f"create table snapshot_info as select date '{as_of}' as as_of, current_timestamp"
            " as published_at, '{}' as model_versions, '{}' as row_counts, '{}' as details"
        )
    return path


@trials(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(states=st.lists(ROWS, min_size=2, max_size=4), data=st.data())
def test_applying_changes_to_what_a_receiver_holds_gives_the_new_full(
    tmp_path_factory, states, data
):
    settings = make_settings(tmp_path_factory.mktemp("receiver"))
    held: dict = {}
    for number, rows in enumerate(states):
        day = DAY + (WEEK * number if data.draw(st.booleans()) else WEEK * (number // 2))
        query = values([(*key, score) for key, score in rows.items()])
        snapshot = bare_snapshot(settings, str(number), day, query)
        result = export(settings, open_state(settings), snapshot, MEMBERS, day, str(number))
        if result.status == "held_back":
            continue
        for customer_id, change, segment, score in read(result.path, "changes"):
            key = (customer_id, segment)
            assert (key in held) == (change != "added")
            if change == "removed":
                del held[key]
            else:
                assert key not in held or held[key] != score
                held[key] = score
        assert held == rows
        assert held == {row[:2]: row[2] for row in read(result.path, "full")}
