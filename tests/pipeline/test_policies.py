"""What policies.yml says reaches the step that obeys it."""

import pytest

from customer360 import pipeline, publish, state
from customer360.activation import exports
from tests.conftest import LAST_DAY


class ReachedError(Exception):
    """The step has come to what is looked at."""


def test_snapshots_and_exports_are_kept_as_the_policies_say(company, monkeypatch):
    company.config["policies"]["snapshots"] = {
        "keep_days": 9,
        "keep_at_most": 8,
        "keep_at_least": 7,
    }
    company.config["policies"]["exports"] = {"keep_days": 6, "spreadsheet": True}
    company.config["policies"]["trust"] = {}  # there is no snapshot that could be looked at
    company.write()
    settings = company.settings
    pipeline.begin(settings, LAST_DAY, "run")
    said = {}

    def reached(*given, **options):
        said.update(given=given, **options)
        raise ReachedError

    monkeypatch.setattr(publish, "publish", reached)
    monkeypatch.setattr("customer360.transform.published_tables", lambda _: {})
    with pytest.raises(ReachedError):
        pipeline.publish(settings, LAST_DAY, "run")
    kept = said["retention"]
    assert (kept.keep_days, kept.keep_at_most, kept.keep_at_least) == (9, 8, 7)

    monkeypatch.setattr(exports, "export_all", reached)
    monkeypatch.setattr(state, "get_run", lambda *_: {"snapshot": "one.duckdb"})
    with pytest.raises(ReachedError):
        pipeline.activate(settings, LAST_DAY, "run")
    policy = said["given"][-1]
    assert (policy.keep_days, policy.spreadsheet) == (6, True)
