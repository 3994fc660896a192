"""Landing and raw: nothing is lost, nothing is twice, and the order of arrival does not matter."""

import datetime as dt
import shutil

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from customer360 import landing, raw
from customer360.config import load_config
from customer360.exceptions import SchemaDriftError, SourceError
from tests.conftest import LAST_DAY

DAYS = [dt.date(2017, 3, 5), dt.date(2017, 3, 6), dt.date(2017, 3, 12), dt.date(2017, 4, 2)]


def ingest(company, day, source="till"):
    return list(
        landing.extract_source(company.settings, load_config(company.settings), source, day)
    )


def load(company, day=LAST_DAY):
    return raw.load(company.settings, load_config(company.settings), day, "run")


def query(company, sql):
    with duckdb.connect(str(company.settings.raw_path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def state(company, table="till.transactions"):
    """Every version, without what says how it came here."""
    return query(company, f"select columns(c -> c not in ('_batch')) from {table} order by all")


def test_read_is_loaded_plus_quarantined_and_bad_rows_say_why(company):
    rows = company.read("transactions")
    quantity = rows.column("quantity").to_pylist()
    quantity[0], quantity[5] = -1, None
    company.put("transactions", rows.set_column(4, "quantity", pa.array(quantity, pa.int64())))
    ingest(company, LAST_DAY)
    totals = load(company)["till"]
    assert totals["quarantined"] == 2
    assert totals["read"] == totals["loaded"] + totals["quarantined"] == rows.num_rows + 12
    reasons = query(company, "select position, reason from meta.quarantine order by position")
    assert reasons == [(1, "quantity is below 0"), (6, "quantity is empty and is required")]


def test_a_column_that_changes_its_type_is_cast_row_by_row(company):
    rows = company.read("transactions")
    text = [str(value) for value in rows.column("quantity").to_pylist()]
    text[2] = "two"
    company.put("transactions", rows.set_column(4, "quantity", pa.array(text)))
    (batch, _new), _products = ingest(company, LAST_DAY)
    assert batch.columns["quantity"] == "VARCHAR"
    load(company)
    assert query(company, "select reason from meta.quarantine") == [("quantity is not a bigint",)]


def test_a_missing_column_stops_before_anything_is_landed(company):
    company.put("transactions", company.read("transactions").drop_columns(["quantity"]))
    with pytest.raises(SchemaDriftError, match=r"till.transactions.*column quantity is gone"):
        ingest(company, LAST_DAY)
    assert landing.batches(company.settings, "till", "transactions") == []


def test_a_renamed_column_is_named_as_such(company):
    rows = company.read("transactions")
    names = ["qty" if name == "quantity" else name for name in rows.column_names]
    company.put("transactions", rows.rename_columns(names))
    with pytest.raises(SchemaDriftError, match="column quantity is now called qty"):
        ingest(company, LAST_DAY)


def test_a_new_column_is_accepted_and_noted(company):
    rows = company.read("transactions")
    company.put("transactions", rows.append_column("extra", pa.array([1] * rows.num_rows)))
    assert ingest(company, LAST_DAY)[0][0].notes == ["column extra is new"]


def test_a_missing_or_unreadable_file_says_so(company):
    file = company.files / "transactions.parquet"
    file.write_bytes(b"PAR1 no")
    with pytest.raises(SourceError, match=r"till.transactions.*cannot be read as Parquet"):
        ingest(company, LAST_DAY)
    file.unlink()
    with pytest.raises(SourceError, match=r"no file at .*transactions.parquet"):
        ingest(company, LAST_DAY)


def test_the_same_day_again_lands_nothing_new(company):
    first = ingest(company, LAST_DAY)
    again = ingest(company, LAST_DAY)
    assert [new for _, new in first] == [True, True]
    assert [(batch, new) for batch, new in again] == [(batch, False) for batch, _ in first]


def test_the_next_day_reads_from_where_the_last_ended_less_the_look_back(company):
    ingest(company, DAYS[0])
    ((batch, _), _) = ingest(company, DAYS[1])
    assert batch.cursor_from == "2017-03-04T05:00:00"
    assert batch.cursor_to == "2017-03-07T05:00:00"


def test_a_late_row_inside_the_look_back_is_taken_up(company):
    rows = company.read("transactions")
    moments = rows.column("transaction_timestamp")
    late = pc.and_(
        pc.greater_equal(moments, pa.scalar(dt.datetime(2017, 3, 5, 12))),
        pc.less(moments, pa.scalar(dt.datetime(2017, 3, 6, 5))),
    )
    assert pc.sum(late).as_py() > 0
    company.put("transactions", rows.filter(pc.invert(late)))
    ingest(company, DAYS[0])
    company.put("transactions", rows)
    ingest(company, DAYS[1])
    load(company)
    before = pc.less(moments, pa.scalar(dt.datetime(2017, 3, 7, 5)))
    assert query(company, "select count(*) from till.transactions") == [(pc.sum(before).as_py(),)]


def test_full_tables_keep_history_and_see_deletions(company):
    products = company.read("products")
    ingest(company, DAYS[0])
    brands = ["Private", *products.column("brand").to_pylist()[1:]]
    changed = products.set_column(3, "brand", pa.array(brands)).slice(0, 11)
    company.put("products", changed)
    ingest(company, DAYS[1])
    load(company)
    versions = query(
        company,
        "select product_id, _as_of, brand, _is_deleted from till.products "
        "where product_id in (100, 111) order by all",
    )
    assert versions == [
        (100, DAYS[0], "National", False),
        (100, DAYS[1], "Private", False),
        (111, DAYS[0], "Private", False),
        (111, DAYS[1], "Private", True),
    ]


def test_a_key_that_stands_twice_with_other_values_is_refused_both_times(company):
    products = company.read("products")
    twin = products.slice(0, 1).set_column(2, "department", pa.array(["PASTRY"]))
    company.put("products", pa.concat_tables([products, twin, products.slice(1, 1)]))
    ingest(company, LAST_DAY)
    totals = load(company)["till"]
    assert totals["quarantined"] == 2
    assert totals["duplicates"] == 1
    assert query(company, "select count(*) from till.products") == [(11,)]


def test_a_repaired_contract_takes_up_what_was_refused(company):
    company.table("till", "products")["columns"]["brand"]["allowed"] = ["National"]
    company.write()
    ingest(company, LAST_DAY)
    assert load(company)["till"]["quarantined"] == 6
    company.table("till", "products")["columns"]["brand"]["allowed"] = ["National", "Private"]
    company.write()
    assert load(company)["till"]["quarantined"] == 0
    assert query(company, "select count(*) from till.products") == [(12,)]


def test_an_altered_batch_is_refused(company):
    (batch, _), _ = ingest(company, LAST_DAY)
    file = batch.folder(company.settings) / "rows.parquet"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(SourceError, match="is not what its manifest says"):
        load(company)


def test_what_no_gate_has_passed_is_taken_back(company):
    ingest(company, DAYS[0])
    load(company)
    raw.approve(company.settings)
    before = state(company), state(company, "till.products")
    company.put("products", company.read("products").slice(0, 0))
    ingest(company, DAYS[1])
    load(company)
    assert raw.refuse(company.settings) == 2
    assert (state(company), state(company, "till.products")) == before


def spoil_quantities(company, number):
    rows = company.read("transactions")
    quantity = [-1] * number + rows.column("quantity").to_pylist()[number:]
    company.put("transactions", rows.set_column(4, "quantity", pa.array(quantity, pa.int64())))
    return rows


def test_a_refused_delivery_can_be_looked_at_and_is_replaced_by_the_next_of_its_day(company):
    good = spoil_quantities(company, 5)
    ingest(company, LAST_DAY)
    assert load(company)["till"]["quarantined"] == 5
    raw.refuse(company.settings)
    assert query(company, "select count(*) from meta.quarantine") == [(5,)]
    company.put("transactions", good)
    ingest(company, LAST_DAY)
    assert load(company)["till"] == {
        "read": good.num_rows + 12,
        "loaded": good.num_rows + 12,
        "duplicates": 0,
        "quarantined": 0,
    }
    assert query(company, "select count(*) from meta.quarantine") == [(0,)]
    batches = query(company, "select count(*) from meta.batches where table_name = 'transactions'")
    assert batches == [(1,)]


def test_what_a_killed_run_loaded_is_judged_with_the_next_run(company):
    ingest(company, DAYS[0])
    raw.load(company.settings, load_config(company.settings), DAYS[0], "killed")
    ingest(company, DAYS[1])
    raw.load(company.settings, load_config(company.settings), DAYS[1], "next")
    assert query(company, "select distinct loaded_by from meta.batches") == [("next",)]


def reach_the_state_in_any_order(company, order, again, split):
    """Land and load days in some order and some twice; the state is that of the straight way."""
    shutil.rmtree(company.settings.data_dir, ignore_errors=True)
    for day in DAYS:
        ingest(company, day)
    load(company)
    expected = state(company), state(company, "till.products")
    shutil.rmtree(company.settings.data_dir)
    for day in [*order, *again]:
        ingest(company, day)
        if split:
            load(company)
    load(company)
    assert (state(company), state(company, "till.products")) == expected


@pytest.mark.parametrize(
    ("order", "again", "split"),
    [(DAYS[::-1], DAYS[1:3], True), ([DAYS[2], DAYS[0], DAYS[3], DAYS[1]], DAYS[:1], False)],
)
def test_some_orders_of_days_end_in_the_same_raw_state(company, order, again, split):
    reach_the_state_in_any_order(company, order, again, split)


@pytest.mark.faults
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(order=st.permutations(DAYS), again=st.sets(st.sampled_from(DAYS)), split=st.booleans())
def test_any_order_of_days_ends_in_the_same_raw_state(company, order, again, split):
    reach_the_state_in_any_order(company, order, again, split)
