"""What ``status`` tells of a run that did not go straight through."""

from customer360 import pipeline, run_status
from tests.conftest import LAST_DAY


def test_status_says_that_a_run_was_cut_off_and_taken_up_until_all_is_done_anew(company):
    settings = company.settings
    pipeline.extract(settings, "till", LAST_DAY)
    pipeline.begin(settings, LAST_DAY, "run")
    assert run_status.status(settings)["taken_up"] is None
    pipeline.take_up(settings, LAST_DAY, ["build_customer_360"])
    pipeline.load_raw(settings, LAST_DAY, "run")
    found = run_status.status(settings)
    assert found["taken_up"]["runs"] == ["build_customer_360"]
    text = run_status.format_summary(found)
    assert "cut off, and taken up again on 2" in text
    assert "UTC: build_customer_360" in text
    assert "taken_up" not in found["seconds"]

    pipeline.extract(settings, "till", LAST_DAY)
    pipeline.begin(settings, LAST_DAY, "again")
    found = run_status.status(settings)
    assert found["taken_up"] is None
    assert "cut off" not in run_status.format_summary(found)
