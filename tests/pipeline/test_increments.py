"""The sum of daily runs is what a rebuild says, table by table; what a run overlooks is seen."""

import datetime as dt
import re
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from customer360 import increments, publish, state, transform
from customer360.config import load_config
from customer360.warehouse import connect
from tests.conftest import LAST_DAY
from tests.pipeline.nights import contents, differing, night, rebuilt

YESTERDAY = LAST_DAY - dt.timedelta(days=1)


@pytest.fixture
def late_lines(company) -> Callable[[], None]:
    """The tills' last two days: lines that come late, and one that is corrected within its day."""
    whole = company.read("transactions")
    days = pc.cast(whole["transaction_timestamp"], pa.date32())
    is_late = pc.and_(
        pc.equal(days, pa.scalar(YESTERDAY)), pc.equal(pc.bit_wise_and(whole["basket_id"], 1), 1)
    )
    company.put("transactions", whole.filter(pc.invert(is_late)))
    return lambda: company.put(
        "transactions",
        whole.set_column(
            whole.schema.get_field_index("quantity"),
            "quantity",
            pc.if_else(
                pc.equal(days, pa.scalar(YESTERDAY)),
                pc.add(whole["quantity"], 1),
                whole["quantity"],
            ),
        ),
    )


def test_the_sum_of_days_is_what_a_rebuild_says(company, late_lines):
    settings = company.settings
    assert night(settings, YESTERDAY, "first") == "no earlier build is kept"
    before = contents(settings)
    late_lines()
    assert night(settings, LAST_DAY, "second") is None
    summed = contents(settings)
    assert summed["orders"] != before["orders"]
    steps = state.run_steps(state.engine(settings), "second")
    assert [step["result"]["put_in_order"] for step in steps if step["step"] == "build_marts"] == [
        {}
    ]
    assert differing(summed, rebuilt(settings, LAST_DAY)) == []


@pytest.mark.faults
def test_a_piece_that_is_overlooked_shows(company, late_lines, monkeypatch):
    settings = company.settings
    night(settings, YESTERDAY, "first")
    late_lines()
    found = increments._find_pieces

    def overlook_one(connection, *told):
        found(connection, *told)
        connection.execute(
            "delete from increment.pieces where piece = (select min(piece) from increment.pieces)"
        )

    monkeypatch.setattr(increments, "_find_pieces", overlook_one)
    night(settings, LAST_DAY, "second")
    summed = contents(settings)
    found = differing(summed, rebuilt(settings, LAST_DAY))
    assert {"order_lines", "unify.union_order_lines"} <= {*found}


def test_what_is_brought_up_to_date_does_not_look_at_the_day():
    """A cell that depends on the as-of day changes although nothing of its piece did."""
    models = list(transform.DBT_PROJECT.glob("models/**/*.sql"))
    texts = {path.stem: path.read_text(encoding="utf-8") for path in models}
    pieced = {name: text for name, text in texts.items() if "fed_by=" in text or "piece='" in text}
    assert {"orders", "customer_touchpoints", "stg_shop__orders"} <= pieced.keys()
    looks = re.compile(
        r"as_of\(\)|as_of_year\(\)|cutoff\(\)|var\(.(as_of|cutoff).\)|current_date|now\("
    )
    assert [name for name, text in pieced.items() if looks.search(text)] == []


def test_a_day_before_the_kept_one_is_built_anew(company):
    settings = company.settings
    rules = transform.project_rules(settings, load_config(settings))
    kept = increments.kept_path(settings)
    assert increments._why_full(settings, rules, LAST_DAY) == "no earlier build is kept"
    kept.parent.mkdir(parents=True)
    with connect(settings, kept) as connection:
        connection.execute(increments.SCHEMA)
        increments._set(
            connection,
            snapshot="customer360-x.duckdb",
            as_of=LAST_DAY.isoformat(),
            rules=rules,
        )
    assert increments._why_full(settings, rules, LAST_DAY) == "nothing is published"
    settings.snapshots_dir.mkdir(parents=True)
    (settings.snapshots_dir / "customer360-x.duckdb").touch()
    (settings.snapshots_dir / publish.POINTER).symlink_to("customer360-x.duckdb")
    before = increments._why_full(settings, rules, YESTERDAY)
    assert before == f"the last build is of a later day, {LAST_DAY}"
    changed = increments._why_full(settings, "others", LAST_DAY)
    assert changed == "the project or its configuration changed"
