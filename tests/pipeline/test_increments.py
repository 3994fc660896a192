"""The sum of daily runs is what a rebuild says, table by table; what a run overlooks is seen."""

import datetime as dt
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from customer360 import increments
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
