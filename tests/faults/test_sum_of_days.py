"""Fourteen days of a living company: late files, deletions, merges, a split; then all anew."""

import datetime as dt

import pytest

from customer360 import state
from customer360.demo.systems import company
from customer360.demo.systems.layout import Layout
from customer360.identity import decisions
from customer360.settings import load_settings
from tests.faults.living import ask
from tests.pipeline.nights import contents, differing, night, rebuilt

DAYS = 14
UNDONE_ON = 7

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]


def test_fourteen_days_sum_up_to_a_rebuild(tiny_company):
    live(tiny_company)


def live(layout: Layout) -> None:
    settings = load_settings()
    for number in range(DAYS):
        if number:
            company.advance(layout, 1, lambda _: None)
        if number == UNDONE_ON:
            undo_a_merge(settings)
        day = dt.date.fromisoformat(layout.clock.read_text().strip())
        why_full = night(settings, day, f"day_{number}")
        assert (why_full is None) == (number > 0), why_full
    reasons = ask(settings, "select distinct reason from identity_changes")
    assert {("merge",), ("split",)} <= {*reasons} or {("merge",), ("undo",)} <= {*reasons}
    assert differing(contents(settings), rebuilt(settings, day)) == []


def undo_a_merge(settings) -> None:
    """A reviewer says of two records of one customer that they are two persons."""
    one, other = ask(
        settings,
        "select record_l, record_r from identity_links where rule = 'identifier' and together "
        "order by all limit 1",
    )[0]
    decisions.decide(state.engine(settings), "cannot_link", one, other, "reviewer")
