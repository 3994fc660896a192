"""Collection quality: what is counted of a batch, and that it comes and goes with its batch."""

import datetime as dt
import json

import duckdb
import pyarrow as pa
import pytest
from click.testing import CliRunner

from customer360 import landing, raw
from customer360.cli import cli
from customer360.config import load_config
from customer360.exceptions import ConfigError
from tests.conftest import LAST_DAY

DAY = dt.date(2017, 3, 6)
NEXT = DAY + dt.timedelta(days=1)


def ingest(company, day, source="till"):
    list(landing.extract_source(company.settings, load_config(company.settings), source, day))


def load(company, day=LAST_DAY):
    raw.load(company.settings, load_config(company.settings), day, "run")


def query(company, sql):
    with duckdb.connect(str(company.settings.raw_path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def measured(company, field, day=LAST_DAY, columns="rows_seen, complete, accurate, timely"):
    return query(
        company,
        f"select {columns} from meta.collection_quality where as_of = date '{day}' "
        f"and source || '.' || table_name || '.' || field = '{field}'",
    )


def quality(company):
    return query(company, "select * from meta.collection_quality order by all")


def change(company, name, column, values):
    """Put ``values`` (row -> value) into a column of a source file."""
    rows = company.read(name)
    cells = rows.column(column).to_pylist()
    for row, value in values.items():
        cells[row] = value
    kind = rows.schema.field(column).type if not isinstance(cells[0], str) else pa.string()
    index = rows.column_names.index(column)
    company.put(name, rows.set_column(index, column, pa.array(cells, kind)))


def test_a_refused_row_counts_against_the_field_that_broke_and_no_other(company):
    change(company, "transactions", "quantity", {0: -1, 1: None})
    ingest(company, LAST_DAY)
    load(company)
    rows = company.read("transactions").num_rows
    ((seen, complete, accurate, _),) = measured(company, "till.transactions.quantity")
    assert seen == rows
    assert complete == pytest.approx((rows - 1) / rows)
    assert accurate == pytest.approx((rows - 2) / (rows - 1))
    assert measured(company, "till.transactions.store_id", columns="complete, accurate") == [(1, 1)]


def test_what_does_not_cast_was_a_value_and_is_not_accurate(company):
    rows = company.read("products")
    makers = ["1"] * 9 + ["one", "", None]
    company.put("products", rows.set_column(1, "manufacturer_id", pa.array(makers)))
    change(company, "products", "brand", {3: "Own"})
    ingest(company, LAST_DAY)
    load(company)
    assert measured(company, "till.products.manufacturer_id") == [(12, 10 / 12, 9 / 10, None)]
    assert measured(company, "till.products.brand") == [(12, 1, 11 / 12, None)]
    assert measured(company, "till.products.package_size") == [(12, 0, None, None)]


def test_a_key_that_stands_twice_counts_against_the_key(company):
    change(company, "products", "product_id", {1: 100})
    ingest(company, LAST_DAY)
    load(company)
    assert measured(company, "till.products.product_id") == [(12, 1, 10 / 12, None)]
    assert measured(company, "till.products.brand", columns="accurate") == [(1,)]


def test_rows_are_late_when_an_earlier_reading_should_have_brought_them(company):
    every = company.read("transactions")
    moments = every.column("transaction_timestamp").to_pylist()
    late = next(row for row, moment in enumerate(moments) if moment.date() == DAY)
    others = [row for row in range(every.num_rows) if row != late]
    company.put("transactions", every.take(others))
    for day in (DAY, NEXT):
        ingest(company, day)
    company.put("transactions", every)
    ingest(company, NEXT + dt.timedelta(days=1))
    load(company)
    field = "till.transactions.quantity"
    # The year before the first reading is history, not late.
    assert measured(company, field, DAY, "timely") == [(1,)]
    assert measured(company, field, NEXT, "timely") == [(1,)]
    new = query(
        company,
        f"select count(*) from till.transactions where _as_of = '{NEXT + dt.timedelta(days=1)}'",
    )[0][0]
    assert new > 1
    assert measured(company, field, NEXT + dt.timedelta(days=1), "timely") == [((new - 1) / new,)]


def test_a_week_that_is_caught_up_blames_no_source(company):
    ingest(company, DAY)
    ingest(company, DAY + dt.timedelta(days=7))
    load(company)
    day = DAY + dt.timedelta(days=7)
    assert measured(company, "till.transactions.quantity", day, "timely, is_weak") == [(1, False)]


def test_days_in_any_order_end_in_the_same_quality(company, tmp_path, monkeypatch):
    days = [DAY, NEXT, LAST_DAY]
    for day in days:
        ingest(company, day)
    load(company)
    expected = quality(company)
    assert len({row[3] for row in expected}) == 3
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path / "elsewhere"))
    for day in (NEXT, LAST_DAY, DAY):
        ingest(company, day)
        load(company)
    timely = "source, table_name, field, as_of, timely"
    with_cursor = "where table_name = 'transactions' order by all"
    found = query(company, f"select {timely} from meta.collection_quality {with_cursor}")
    assert found == [(*row[:4], row[9]) for row in expected if row[1] == "transactions"]


def test_it_goes_with_its_batch_and_a_day_without_a_delivery_has_none(company):
    ingest(company, DAY)
    load(company)
    raw.approve(company.settings)
    before = quality(company)
    assert {row[3] for row in before} == {DAY}
    ingest(company, NEXT)
    load(company)
    assert {row[3] for row in quality(company)} == {DAY, NEXT}
    raw.refuse(company.settings)
    assert quality(company) == before


def test_a_table_that_is_rebuilt_is_counted_once(company):
    ingest(company, LAST_DAY)
    load(company)
    before = measured(company, "till.transactions.quantity")
    company.table("till", "transactions")["columns"]["quantity"]["max"] = 2
    company.write()
    load(company)
    ((seen, _, accurate, _),) = measured(company, "till.transactions.quantity")
    assert seen == before[0][0]
    assert accurate < 1


def test_personal_values_are_compliant_only_on_a_stated_basis(company):
    policies = company.config["policies"]
    policies["legal_basis"] = {"profile": "consent"}
    company.write()
    ingest(company, LAST_DAY, "customer_file")
    load(company)
    both = "compliant, is_weak, compliant_rule"
    age, household = (f"customer_file.demographics.{field}" for field in ("age", "household_id"))
    ((share, is_weak, rule),) = measured(company, age, columns=both)
    assert (share, is_weak) == (0, True)
    assert "does not say where it is recorded" in rule
    ((share, is_weak, rule),) = measured(company, household, columns=both)
    assert (share, is_weak) == (0, True)
    assert "no legal basis" in rule

    policies["legal_basis"]["identifier"] = "contract"
    policies["consent_recorded_in"] = {"profile": household}
    company.write()
    load(company)
    assert measured(company, age, columns="compliant, is_weak") == [(1, False)]
    assert measured(company, household, columns="compliant, is_weak") == [(1, False)]
    not_personal = "till.products.brand"
    ingest(company, LAST_DAY)
    load(company)
    assert measured(company, not_personal, columns=both) == [(None, False, None)]


def test_the_narrowest_limit_holds(company):
    company.config["policies"]["trust"] = {
        "limits": {"complete": 0.1},
        "overrides": {
            "till": {"complete": 0.2, "accurate": 0.5},
            "till.products": {"complete": 0.3},
            "till.products.brand": {"complete": 0.4},
        },
    }
    company.write()
    trust = load_config(company.settings).policies.trust
    found = [
        trust.limits_of(field)["complete"]
        for field in (
            "coupon_system.coupons.coupon_upc",
            "till.transactions.week",
            "till.products.product_id",
            "till.products.brand",
        )
    ]
    assert found == [0.1, 0.2, 0.3, 0.4]
    assert trust.limits_of("till.products.brand")["accurate"] == 0.5


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ({"trust": {"uses": {"scoring": ["till.transactions.quantty"]}}}, "trust.uses.scoring"),
        ({"trust": {"overrides": {"tills": {"timely": 1}}}}, "trust.overrides"),
        ({"consent_recorded_in": {"profile": "till.transactions"}}, "consent_recorded_in.profile"),
    ],
)
def test_a_policy_about_a_field_that_is_not_declared_is_refused(company, section, place):
    company.config["policies"] |= section
    company.write()
    with pytest.raises(ConfigError, match=rf"{place}: sources.yml declares no"):
        load_config(company.settings)


def test_source_list_names_the_worst_field_of_each_source(company):
    change(company, "products", "brand", {3: "Own"})
    ingest(company, LAST_DAY)
    load(company)
    told = CliRunner().invoke(cli, ["source", "list", "--json"], catch_exceptions=False)
    sources = json.loads(told.stdout)["sources"]
    assert sources["till"]["worst_field"] == {
        "field": "products.brand",
        "as_of": LAST_DAY.isoformat(),
        "complete": 1.0,
        "accurate": 11 / 12,
        "timely": None,
        "compliant": None,
        "is_weak": True,
    }
    assert sources["coupon_system"]["worst_field"] is None
    text = CliRunner().invoke(cli, ["source", "list"], catch_exceptions=False).stdout
    assert (
        "worst field: products.brand: complete 100 %, accurate 91.6 % on 2017-10-29 (weak)" in text
    )
