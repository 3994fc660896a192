"""What a weak field stops, and what goes on all the same."""

import duckdb
import pytest

from customer360 import pipeline, run_status, state
from customer360.activation import exports
from customer360.config import load_config
from customer360.exceptions import GateError
from customer360.scoring import nightly
from tests.conftest import LAST_DAY

FIELD = "till.transactions.sales_value"


class ReachedError(Exception):
    """The step has passed the gate."""


@pytest.fixture
def marts(company):
    """The marts file of a run; call it with (day, rows, accurate) of the field's measures."""
    company.config["policies"]["trust"] = {
        "limits": {"accurate": 0.95},
        "uses": {"scoring": [FIELD], "sending": [FIELD]},
    }
    company.write()
    pipeline.begin(company.settings, LAST_DAY, "run")
    path = pipeline._work_file(company.settings, "run")
    path.parent.mkdir(parents=True)

    def write(*measures):
        with duckdb.connect(str(path)) as connection:
            connection.execute(
                "create or replace table main.collection_quality (source varchar, "
                "table_name varchar, field varchar, as_of date, rows_seen bigint, "
                "complete double, accurate double, timely double, compliant double)"
            )
            for day, rows, accurate in measures:
                connection.execute(
                    "insert into main.collection_quality values "
                    "('till', 'transactions', 'sales_value', ?, ?, 1, ?, null, null)",
                    [day, rows, accurate],
                )
        return path

    return write


@pytest.mark.parametrize(
    ("step", "work"), [("score", "score_into"), ("train_if_needed", "train_if_needed")]
)
def test_scoring_refuses_a_weak_field_and_names_scale_value_limit_and_mend(
    company, marts, monkeypatch, step, work
):
    def reached(*_):
        raise ReachedError

    monkeypatch.setattr(nightly, work, reached)
    run = getattr(pipeline, step)
    marts(("2017-10-28", 100, 1.0), ("2017-10-29", 200, 0.9496))
    with pytest.raises(GateError) as caught:
        run(company.settings, LAST_DAY, "run")
    text = str(caught.value)
    assert f"{FIELD}: accurate 94.9 % of 200 rows on 2017-10-29, needs 95 %; correct the" in text
    assert [finding.kind for finding in caught.value.findings] == ["trust"]
    assert run_status.status(company.settings)["status"] == "failed"
    assert run_status.status(company.settings)["failed_step"] == step

    marts(("2017-10-28", 100, 0.1), ("2017-10-29", 200, 0.95))
    with pytest.raises(ReachedError):
        run(company.settings, LAST_DAY, "run")


def test_a_day_without_rows_leaves_the_day_before_in_force(company, marts):
    config = load_config(company.settings)
    given = (company.settings, config, LAST_DAY)
    path = marts(("2017-10-28", 100, 0.5), ("2017-10-29", 0, None), ("2017-10-30", 9, 1.0))
    with pytest.raises(GateError, match="on 2017-10-28"):
        pipeline.trust.require(*given, path, "scoring", "no")


def test_a_field_that_was_never_measured_is_not_trusted(company, marts):
    path = marts()
    with pytest.raises(GateError, match=f"{FIELD} was never measured"):
        pipeline.trust.require(
            company.settings, load_config(company.settings), LAST_DAY, path, "scoring", "no"
        )


def test_training_a_challenger_refuses_too(company, marts, monkeypatch):
    path = marts(("2017-10-29", 200, 0.5))
    monkeypatch.setattr(pipeline, "_published", lambda *_: path)
    with pytest.raises(GateError, match="no challenger is trained"):
        pipeline.train(company.settings, LAST_DAY, "run", "churn")


def test_alerts_are_held_back_while_sending_cannot_be_trusted_and_the_rest_goes_out(
    company, marts, monkeypatch
):
    settings = company.settings
    path = marts(("2017-10-29", 200, 0.5))
    settings.snapshots_dir.mkdir(parents=True)
    path.rename(settings.snapshots_dir / "one.duckdb")
    get_run = state.get_run
    monkeypatch.setattr(
        state, "get_run", lambda *given: {**get_run(*given), "snapshot": "one.duckdb"}
    )
    out = settings.exports_dir / "out"

    def written(settings, engine, snapshot, wanted, as_of, *rest):
        return exports.ExportResult(wanted.name, as_of, "written", "changes", out, rows=3)

    monkeypatch.setattr(exports, "export", written)
    done = pipeline.activate(settings, LAST_DAY, "run")
    assert [finding["kind"] for finding in done["findings"]] == ["trust"]
    found = run_status.status(settings)
    states = {name: export["status"] for name, export in found["exports"].items()}
    assert states == {
        "segment_members": "written",
        "churn_alerts": "held_back",
        "customer_id_map": "written",
    }
    assert f"{FIELD}: accurate 50 %" in found["exports"]["churn_alerts"]["message"]
    assert (
        "churn_alerts        held back: alerts are held back: fields"
        in run_status.format_summary(found)
    )
