"""A day's change, computed where it reaches, ends where computing everything ends."""

import datetime as dt
import os
import shutil
import tempfile
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from customer360.identity import decisions
from tests.identity.company import (
    DAY,
    GIVEN,
    SURNAMES,
    Company,
    add_crowd,
    customers,
    groups,
    tables,
)

EXAMPLES = int(os.environ.get("CUSTOMER360_EXAMPLES", "5"))

# few values, so that changes meet: on one phone, one home, one name in several writings
VALUES = {
    "full_name": [
        "任小满",
        "任晓满",
        "任先生",
        "小满",
        "Ren Xiaoman",
        "苗雨欣",
        "苗女士",
        "苗雨辛",
    ],
    "birthday": ["1990-01-02", "1990-02-01", "1971-12-30"],
    "city": ["杭州", "宁波"],
    "address": ["建设路1号锦绣园2号楼303室", "锦绣园2栋1单元303（建设路）", "锦绣园5号楼404室"],
    "phone": ["13900000001", "13900000002", "13900000003"],
    "email": ["ren@example.cn", "miao@example.cn"],
    "member_no": ["M00001", "M90001", "M90002"],
    "unionid": ["u1", "u2"],
    "order_no": ["o1", "o2"],
    "nickname:shop": ["老王51", "晴天熊"],
    "nickname:wx1": ["老王51", "晴天熊"],
}
KEYS = [f"new.people:{number}" for number in range(7)] + [
    f"{system}.people:{number:04d}" for system in ("crm", "shop") for number in range(4)
]

contents = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) for name, values in VALUES.items()}
)
changes = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(KEYS), contents),
    st.tuples(st.just("remove"), st.sampled_from(KEYS), st.none()),
    st.tuples(
        st.sampled_from(["must_link", "cannot_link"]), st.sampled_from(KEYS), st.sampled_from(KEYS)
    ),
)


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> Company:
    company = add_crowd(Company(tmp_path_factory.mktemp("learned")), 50)
    company.run("first", kept=True).close()
    return company


def copied(company: Company, folder: Path) -> Company:
    shutil.copytree(company.folder, folder)
    return Company(folder, dict(company.records), dict(company.identifiers))


def apply(company: Company, change: tuple) -> None:
    what, key, more = change
    if what == "put":
        if key in company.records:
            company.remove(key)
        company.add(key, **more)
    elif what == "remove":
        if key in company.records:
            company.remove(key)
    elif key != more:
        try:
            decisions.decide(company.engine, what, key, more, "test")
        except decisions.ConfigError:
            number = decisions.in_force(company.engine)[0]["decision_id"]
            decisions.undo(company.engine, number, "test")


@pytest.mark.faults
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize="CUSTOMER360_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(days=st.lists(st.lists(changes, min_size=1, max_size=6), min_size=1, max_size=2))
def test_increments_equal_a_full_run_under_one_version(learned, days):
    with tempfile.TemporaryDirectory() as name:
        company = copied(learned, Path(name) / "company")
        for number, day in enumerate(days):
            for change in day:
                apply(company, change)
            day_of = DAY + dt.timedelta(days=number)
            with company.run(f"day-{number}", day=day_of, learn=False, kept=True) as con:
                by_parts, told_by_parts = customers(con), tables(con)
            assert company.summary["mode"] == "increment"
        whole = copied(company, Path(name) / "whole")
        with duckdb.connect(str(whole.settings.data_dir / "identity.duckdb")) as own:
            # whatever it reads now has changed, and no pair was ever compared
            own.execute("DELETE FROM seen; DELETE FROM row; DELETE FROM scored")
        con = whole.run("whole", day=DAY + dt.timedelta(days=9), learn=False)
        at_once = customers(con)
        assert whole.summary["recomputed_records"] == len(whole.records)
        assert groups(by_parts) == groups(at_once)
        assert by_parts == at_once
        assert told_by_parts == tables(con)


def test_a_small_change_recomputes_little(learned, tmp_path):
    company = copied(learned, tmp_path / "company")
    company.add("new.people:1", full_name="任小满", phone="13900000001")
    company.resolve("second")
    assert company.summary["changed_records"] == 1
    assert company.summary["recomputed_records"] < 5


def test_a_change_goes_no_further_than_its_outcome(learned, tmp_path):
    """Strangers who share numbers in a chain, each with the next, are no neighbourhood."""
    company = copied(learned, tmp_path / "company")
    for number, name in enumerate(SURNAMES):
        company.add(f"crm.chained:{number}", full_name=f"{name}雨{GIVEN[number]}",
                    birthday=f"{1950 + number}-03-04", phone=f"1391111{number:04d}")  # fmt: skip
        company.identifiers[f"crm.chained:{number}", "phone", f"1391111{number + 1:04d}"] = (
            "2024-01-01"
        )
    before = company.resolve("second", learn=False)
    chained = [who for key, who in before.items() if key.startswith("crm.chained")]
    assert len(set(chained)) == len(SURNAMES)
    company.add("shop.chained:0", full_name=f"{SURNAMES[0]}雨{GIVEN[0]}", phone="13911110000")
    after = company.resolve("third", learn=False)
    assert after["shop.chained:0"] == before["crm.chained:0"]
    assert company.summary["recomputed_records"] < 6
