"""Quarantined rows come back as if they had been good from the start; changed columns by policy."""

import csv
import datetime as dt
import json
import stat

import duckdb
import pyarrow as pa
import pytest
from click.testing import CliRunner

from customer360 import landing, raw
from customer360.config import load_config
from customer360.exceptions import SchemaDriftError
from customer360.quarantine_commands import quarantine
from tests.conftest import LAST_DAY

EARLIER = dt.date(2017, 3, 5)
DAYS = [EARLIER, LAST_DAY]


def ingest_and_load(company):
    config = load_config(company.settings)
    for day in DAYS:
        for source in ("till", "customer_file"):
            list(landing.extract_source(company.settings, config, source, day))
    return raw.load(company.settings, config, LAST_DAY, "run")


def states(company):
    with duckdb.connect(str(company.settings.raw_path), read_only=True) as connection:
        return [
            connection.execute(
                f"select columns(c -> c != '_batch') from {table} order by all"
            ).fetchall()
            for table in ("till.transactions", "customer_file.demographics")
        ]


def run(*arguments):
    done = CliRunner().invoke(quarantine, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def quarantined():
    return sum(group["rows"] for group in json.loads(run("list", "--json"))["groups"])


def spoil(company, name, column, values):
    """Put wrong values into rows of a file; returns the right ones."""
    table = company.read(name)
    cells = table.column(column).to_pylist()
    right = {row: cells[row] for row in values}
    for row, value in values.items():
        cells[row] = value
    index = table.column_names.index(column)
    company.put(name, table.set_column(index, column, pa.array(cells, table.column(column).type)))
    return right


def correct(path, column, right):
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row[column] = right[int(row["_position"]) - 1]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


@pytest.mark.parametrize(
    ("source", "name", "file", "column", "wrong"),
    [
        ("till", "transactions", "transactions", "quantity", {0: -1, 3: None, 200: -5}),
        ("customer_file", "demographics", "demographics", "age", {1: "old"}),
    ],
)
def test_a_replay_ends_in_the_state_of_good_rows(
    company, tmp_path, monkeypatch, source, name, file, column, wrong
):
    ingest_and_load(company)
    good = states(company)
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path / "spoilt"))
    right = spoil(company, file, column, wrong)
    ingest_and_load(company)
    assert quarantined() == len(wrong)
    assert states(company) != good

    fix = tmp_path / "fix.csv"
    run("show", source, name, "--out", str(fix))
    assert stat.S_IMODE(fix.stat().st_mode) == 0o600
    in_file = correct(fix, column, right)
    told = json.loads(run("replay", source, name, "--from", str(fix), "--json"))
    assert told["corrected"] == in_file
    raw.load(company.settings, load_config(company.settings), LAST_DAY, "again")
    assert quarantined() == 0
    assert states(company) == good
    # Reading the day again, from a source that still has it wrong, does not undo the correction.
    config = load_config(company.settings)
    list(landing.extract_source(company.settings, config, source, LAST_DAY))
    raw.load(company.settings, config, LAST_DAY, "third")
    assert states(company) == good
    list(landing.extract_source(company.settings, config, source, EARLIER))
    raw.load(company.settings, config, LAST_DAY, "fourth")
    assert states(company) == good


def test_a_correction_that_is_wrong_again_stays_in_quarantine(company, tmp_path):
    spoil(company, "transactions", "quantity", {0: -1})
    ingest_and_load(company)
    fix = tmp_path / "fix.csv"
    run("show", "till", "transactions", "--out", str(fix))
    correct(fix, "quantity", {0: -2})
    run("replay", "till", "transactions", "--from", str(fix))
    totals = raw.load(company.settings, load_config(company.settings), LAST_DAY, "again")["till"]
    assert totals["read"] == totals["loaded"] + totals["quarantined"]
    assert quarantined() == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_position": "999999"}, "1 corrected rows are not in the batch"),
        ({"_batch": "2017-01-01/0001-x"}, "landing has no batch"),
        ({"quantity": "two"}, "does not fit the type"),
    ],
)
def test_a_correction_that_fits_nothing_lands_nothing_and_says_why(
    company, tmp_path, change, message
):
    spoil(company, "transactions", "quantity", {0: -1})
    ingest_and_load(company)
    before = landing.batches(company.settings)
    fix = tmp_path / "fix.csv"
    run("show", "till", "transactions", "--out", str(fix))
    with fix.open(encoding="utf-8", newline="") as stream:
        (row, *_) = csv.DictReader(stream)
    with fix.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, row)
        writer.writeheader()
        writer.writerow(row | change)
    done = CliRunner().invoke(quarantine, ["replay", "till", "transactions", "--from", str(fix)])
    assert message in str(done.exception)
    assert "two" not in str(done.exception)
    assert landing.batches(company.settings) == before


def test_a_contract_that_has_been_loosened_tells_what_it_would_accept(company):
    spoil(company, "transactions", "quantity", {0: -1, 5: -7})
    ingest_and_load(company)
    before = quarantined()
    column = company.table("till", "transactions")["columns"]["quantity"]
    column["min"] = -3
    company.write()
    told = json.loads(run("replay", "till", "transactions", "--json"))
    assert told["quarantined"] == before
    assert 0 < told["passes"] < before
    raw.load(company.settings, load_config(company.settings), LAST_DAY, "again")
    assert quarantined() == before - told["passes"]


def set_drift(company, **policy):
    company.config["policies"]["drift"] |= policy
    company.write()


def extract(company):
    config = load_config(company.settings)
    landed = landing.extract_source(company.settings, config, "till", EARLIER)
    return {batch.table: batch for batch, _ in landed}["transactions"]


def test_a_renamed_column_stops_or_is_read_under_its_new_name(company):
    table = company.read("transactions")
    names = ["units" if name == "quantity" else name for name in table.column_names]
    company.put("transactions", table.rename_columns(names))
    with pytest.raises(SchemaDriftError, match="column quantity is now called units"):
        extract(company)
    set_drift(company, renamed="accept")
    batch = extract(company)
    assert batch.notes == ["column quantity is now called units"]
    raw.load(company.settings, load_config(company.settings), LAST_DAY, "run")
    with duckdb.connect(str(company.settings.raw_path), read_only=True) as connection:
        (empty,) = connection.execute(
            "select count(*) from till.transactions where quantity is null"
        ).fetchall()[0]
    assert empty == 0


def test_a_column_that_is_gone_stops_or_sets_rows_aside_that_require_it(company):
    table = company.read("transactions")
    company.put("transactions", table.drop_columns(["week", "quantity"]))
    with pytest.raises(SchemaDriftError, match="column quantity, week is gone"):
        extract(company)
    set_drift(company, missing="quarantine")
    batch = extract(company)
    assert batch.rows > 0
    totals = raw.load(company.settings, load_config(company.settings), EARLIER, "run")["till"]
    assert totals["quarantined"] == batch.rows  # quantity is required, week is not


def test_a_key_or_cursor_that_is_gone_always_stops(company):
    set_drift(company, missing="quarantine")
    company.put("transactions", company.read("transactions").drop_columns(["basket_id"]))
    with pytest.raises(SchemaDriftError, match="column basket_id is gone"):
        extract(company)


def test_a_new_column_is_kept_in_landing_until_it_is_declared(company):
    table = company.read("transactions")
    company.put("transactions", table.append_column("till_no", pa.array([7] * table.num_rows)))
    assert extract(company).notes == ["column till_no is new"]
    config = load_config(company.settings)
    raw.load(company.settings, config, EARLIER, "run")
    company.table("till", "transactions")["columns"]["till_no"] = {"type": "bigint"}
    company.write()
    raw.load(company.settings, load_config(company.settings), EARLIER, "again")
    with duckdb.connect(str(company.settings.raw_path), read_only=True) as connection:
        assert connection.execute("select distinct till_no from till.transactions").fetchall() == [
            (7,)
        ]
    set_drift(company, added="stop")
    del company.table("till", "transactions")["columns"]["till_no"]
    company.write()
    with pytest.raises(SchemaDriftError, match="column till_no is new"):
        extract(company)
