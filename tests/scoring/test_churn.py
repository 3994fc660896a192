"""Churn on a warehouse: trained, kept, scored, explained, watched."""

import json
import re
from datetime import date, timedelta

import duckdb
import numpy as np
import pytest
from sqlalchemy import create_engine

from customer360 import state
from customer360.exceptions import ModelError
from customer360.registry import Registry
from customer360.scoring import nightly
from customer360.scoring.churn import SCHEMA, Churn, fit_churn, score_with
from customer360.scoring.features import read_features
from customer360.settings import load_settings
from models.churn.predict import explainer, predict
from models.churn.train import BOOSTING, ChurnModel
from models.common.windows import rows_of

AS_OF = date(2026, 1, 31)
HORIZON = 28


CHURN = Churn()


@pytest.fixture
def registry(tmp_path):
    return Registry(create_engine(f"sqlite:///{tmp_path / 'state.sqlite'}"), tmp_path / "models")


def train_churn(connection, as_of, registry):
    return nightly.train(CHURN, nightly.Given(connection, as_of, HORIZON), registry)


def score_churn(connection, as_of, registry):
    """Scores of the champion of that day, or of the fallback."""
    given = nightly.Given(connection, as_of, HORIZON)
    champion = registry.latest_champion(CHURN.kind(HORIZON), as_of)
    if champion is None:
        return CHURN.score(given, None, nightly.UNTRAINED)
    return CHURN.score(given, champion.artefact, champion.row.version)


@pytest.fixture(scope="module")
def fitted(shop_orders):
    with duckdb.connect() as connection:
        connection.register("given", shop_orders)
        connection.execute(
            "create table orders as select customer_id, ordered_on::date as ordered_on, "
            "amount_cents, quantity from given"
        )
        frame = read_features(connection, [AS_OF], HORIZON).to_pandas()
        return fit_churn(connection, AS_OF, HORIZON), frame


@pytest.fixture(scope="module")
def boosted(fitted):
    """The boosting of the fitted model, whatever was chosen."""
    return ChurnModel(**{**fitted[0].model.__dict__, "chosen": BOOSTING}), fitted[1]


def test_windows_lie_one_after_the_other(fitted):
    windows = fitted[0].windows
    horizon = timedelta(days=HORIZON)
    assert windows.training[-1] + horizon <= windows.calibration
    assert windows.calibration + horizon <= windows.choice
    assert windows.choice + horizon <= windows.report
    assert windows.report + horizon == AS_OF


def test_the_model_ranks_and_its_probabilities_hold(fitted):
    figures = fitted[0].evaluation.metrics
    assert figures["auc"] > 0.75
    assert 0.7 < figures["calibration_slope"] < 1.4
    assert abs(figures["mean_probability"] - figures["base_rate"]) < 0.06
    assert figures["lift_top_tenth"] > 1.3


def test_card_names_the_rules_beside_the_model(fitted):
    from models.common.card import render

    card = render(fitted[0].card())
    for rule in ("recency", "13-week frequency", "last period", "three-variable logistic"):
        assert rule in card.markdown
    assert set(card.pictures) == {"calibration.png", "gain.png", "importance.png"}


def test_a_rule_that_is_not_beaten_is_used_and_the_card_says_so(fitted):
    model = ChurnModel(**{**fitted[0].model.__dict__, "chosen": "recency"})
    frame = fitted[1]
    scored = predict(model, frame)
    own = ~scored["is_prior"]
    order = np.argsort(frame.loc[own, "recency_days"].to_numpy(), kind="stable")
    assert (np.diff(scored.loc[own, "churn_probability"].to_numpy()[order]) >= 0).all()
    reasons = explainer(model).explain(frame, scored)
    assert all(reason is not None for reason in reasons["reason_1"])
    replaced = type(fitted[0])(**{**fitted[0].__dict__, "model": model})
    assert "The rule `recency` is used" in replaced.card().summary


def test_contributions_add_up_to_the_score(boosted):
    model, frame = boosted
    from models.common.features import matrix

    values = matrix(frame)[:, model.columns]
    paths = explainer(model).paths
    total = paths.baseline + paths.explain(values).sum(axis=1)
    assert total == pytest.approx(model.estimator.decision_function(values), abs=1e-4)


def test_reasons_are_the_customers_own_numbers(boosted):
    model, frame = boosted
    scored = predict(model, frame)
    reasons = explainer(model).explain(frame, scored)
    risky = scored["churn_probability"].to_numpy() >= model.base_rate
    own = ~scored["is_prior"].to_numpy()
    seen = 0
    for place in range(3):
        for row, words in enumerate(reasons[f"reason_{place + 1}"]):
            if words is None or not own[row]:
                continue
            numbers = frame.iloc[row]
            if found := re.match(r"last purchase (\d+) days ago; usually every (\d+) days", words):
                seen += 1
                assert int(found[1]) == numbers["recency_days"]
                # Of the last year; of the whole history where that had no two purchases.
                gap = numbers["gap_median_days"]
                gap = numbers["gap_mean_days"] if np.isnan(gap) else gap
                assert int(found[2]) == round(gap)
                if place:  # the first may be rhythm for want of anything else
                    assert risky[row] == (numbers["recency_days"] > gap)
            if found := re.match(r"(\d+) purchases? in the last 13 weeks", words):
                seen += 1
                assert int(found[1]) == numbers["orders_13w"]
                assert risky[row] == (numbers["orders_13w"] < model.medians["orders_13w"])
    assert seen > 200


def test_one_time_buyers_are_not_safe_and_new_ones_get_the_stated_rate(boosted):
    model, frame = boosted
    scored = predict(model, frame)
    once = (frame["visits"] == 1) & (frame["tenure_days"] >= HORIZON)
    assert once.sum() > 20
    safest_quarter = scored["churn_probability"].quantile(0.25)
    assert scored.loc[once, "churn_probability"].min() > safest_quarter
    chance = scored["churn_probability"]
    assert chance[once].mean() > chance[~once].mean()
    fresh = (frame["visits"] == 1) & (frame["tenure_days"] < HORIZON)
    assert fresh.any()
    assert scored.loc[fresh, "is_prior"].all()
    assert (scored.loc[fresh, "churn_probability"] == model.new_rate).all()
    words = explainer(model).explain(frame, scored)["reason_1"][fresh.to_numpy()]
    assert all(re.match(r"new: bought once, .*; of such customers \d+%", one) for one in words)


def test_who_has_been_away_longer_than_anyone_is_not_taken_for_average(boosted):
    model, frame = boosted
    asleep = frame.head(5).assign(recency_days=900, tenure_days=1000)
    scored = predict(model, asleep)
    assert scored["is_prior"].all()
    assert model.lapsed_rows == 0
    assert (scored["churn_probability"] > model.base_rate).all()
    words = explainer(model).explain(asleep, scored)["reason_1"]
    assert all("no purchase for 900 days" in one and "assumed" in one for one in words)


def test_a_planted_future_row_changes_no_model(shop):
    before = fit_churn(shop, AS_OF, HORIZON)
    shop.execute("insert into orders select customer_id, date '2026-02-01', 1, 1 from orders")
    after = fit_churn(shop, AS_OF, HORIZON)
    frame = rows_of(before.frame, before.windows.report)
    assert (predict(before.model, frame) == predict(after.model, frame)).all(axis=None)
    assert before.facts == after.facts


def test_train_score_watch_and_again(shop, registry):
    first = train_churn(shop, AS_OF, registry)
    assert first.summary["status"] == "champion"
    scores = score_churn(shop, AS_OF, registry)
    assert scores.tables["churn"].schema == SCHEMA
    customers = shop.execute(
        "select count(distinct customer_id) from orders where ordered_on <= ?", [AS_OF]
    ).fetchone()[0]
    assert (
        len(scores.tables["churn"])
        == customers
        == len(set(scores.tables["churn"]["customer_id"].to_pylist()))
    )
    assert set(scores.tables["churn"]["model_version"].to_pylist()) == {
        first.summary["model_version"]
    }
    assert scores.alarms == ()
    again = train_churn(shop, AS_OF, registry)
    assert again.summary["model_version"] == first.summary["model_version"]
    assert score_churn(shop, AS_OF, registry).tables == scores.tables
    assert len(registry.versions()) == 1
    champion = registry.latest_champion(CHURN.kind(HORIZON), AS_OF)
    given = nightly.Given(shop, AS_OF, HORIZON)
    watched = CHURN.watch(given, champion.row, champion.artefact)
    assert watched["metrics"]["auc"] == pytest.approx(first.summary["metrics"]["auc"])


def test_before_any_training_buy_till_you_die_scores_and_an_alarm_says_so(shop, registry):
    train_churn(shop, AS_OF, registry)
    early = score_churn(shop, AS_OF - timedelta(days=1), registry)
    assert "nothing has checked it" in early.alarms[0]
    assert set(early.tables["churn"]["model_version"].to_pylist()) == {"buy-till-you-die"}
    chance = early.tables["churn"]["churn_probability"].to_numpy()
    assert 0 < chance.min() < chance.max() <= 1
    assert None not in early.tables["churn"]["reason_1"].to_pylist()


def test_a_week_later_a_challenger_of_the_same_worth_is_refused(shop, registry):
    first = train_churn(shop, AS_OF, registry)
    later = train_churn(shop, AS_OF + timedelta(days=7), registry)
    assert later.summary["status"] == "refused"
    assert "no more than noise" in later.summary["reason"]
    scores = score_churn(shop, AS_OF + timedelta(days=7), registry)
    assert scores.version == first.summary["model_version"]


def test_drifted_inputs_raise_an_alarm(shop, fitted):
    shop.execute("delete from orders where ordered_on > ?", [AS_OF - timedelta(days=60)])
    scores = score_with(shop, fitted[0].model, AS_OF, "v")
    assert scores.drift["recency_days"] > nightly.DRIFT_ALARM


def test_batches_do_not_change_scores(shop, fitted, monkeypatch):
    from customer360.scoring import churn

    whole = score_with(shop, fitted[0].model, AS_OF, "v")
    monkeypatch.setattr(churn, "BATCH_ROWS", 97)
    assert score_with(shop, fitted[0].model, AS_OF, "v").table == whole.table


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("delete from orders", "no orders"),
        ("delete from orders where ordered_on < date '2025-12-01'", "too little history"),
        ("delete from orders where customer_id > 'c00020'", "customers in the"),
        (
            "insert into orders select distinct customer_id, range::date, 100, 1 from orders, "
            "range(timestamp '2025-01-01', timestamp '2026-02-01', interval 7 day)",
            "every customer bought again",
        ),
    ],
)
def test_what_cannot_be_learned_says_why(shop, registry, damage, message):
    shop.execute(damage)
    with pytest.raises(ModelError, match=message):
        train_churn(shop, AS_OF, registry)


def test_constant_and_broken_numbers_do_no_harm(fitted):
    frame = rows_of(fitted[0].frame, *fitted[0].windows.origins).copy()
    frame["quantity_was_never_known"] = np.nan
    frame["basket_quantity_26w"] = np.nan
    frame["basket_cents"] = 5.0
    frame.loc[frame.index[:50], "gap_std_days"] = np.inf
    from models.churn.train import train

    model = train(frame, fitted[0].windows)
    chance = predict(model, frame)["churn_probability"]
    assert chance.between(0, 1).all()


def test_the_chain_scores_from_the_first_day_and_trains_when_it_can(
    shop_orders, load_orders, tmp_path, monkeypatch
):
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path))
    settings = load_settings("tiny")
    engine = state.engine(settings)
    with duckdb.connect(str(tmp_path / "marts.duckdb")) as connection:
        load_orders(connection, shop_orders)

        def chain(step, day):
            given = nightly.Given(connection, day, HORIZON)
            return getattr(nightly, step)(settings, engine, CHURN, given)

        early = date(2025, 1, 1)
        told = chain("train_if_needed", early)
        assert (told["trained"], "too little history" in told["note"]) == (False, True)
        assert chain("score_into", early)["model_version"] == "prior"
        first = chain("score_into", date(2025, 3, 1))
        assert (first["model_version"], first["status"]) == ("buy-till-you-die", "fallback")
        trained = chain("train_if_needed", AS_OF)
        assert trained["trained"]
        assert (tmp_path / "tiny/reports/models" / trained["model_version"] / "card.md").is_file()
        assert json.loads(json.dumps(trained))["auc"] > 0.7
        assert not chain("train_if_needed", AS_OF)["trained"]
        scored = chain("score_into", AS_OF)
        assert scored["model_version"] == trained["model_version"]
        assert scored["watch"]["metrics"]["auc"] > 0.7
        rows = connection.execute(
            "select count(*), count(reason_1), min(churn_probability) from scores.churn"
        ).fetchone()
        assert rows[0] == rows[1] == scored["scored"]
        # A week later a training is due, and of the same worth: refused.
        given = nightly.Given(connection, AS_OF + timedelta(days=6), HORIZON)
        assert nightly.why_due(settings, engine, CHURN, given) is None
        assert "the last training was" in chain("why_due", AS_OF + timedelta(days=7))
        told = chain("train_challenger", AS_OF + timedelta(days=7))
        assert told["status"] == "refused"
        # A champion whose file went bad is made anew.
        (settings.models_dir / f"{trained['model_version']}.skops").write_bytes(b"")
        again = chain("train_if_needed", AS_OF)
        assert again["trained"]
        assert again["model_version"] == trained["model_version"]
        assert chain("score_into", AS_OF)["alarms"] == []


def test_a_bad_file_lets_the_champion_before_it_score_and_raises_an_alarm(
    shop, registry, tmp_path, monkeypatch
):
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path / "data"))
    settings = load_settings("tiny")
    engine = state.engine(settings)
    registry = Registry(engine, settings.models_dir)
    before = train_churn(shop, AS_OF - timedelta(days=7), registry).row
    # A later one that earned its place, by decree.
    made = registry.load(before)
    later = registry.register(
        version="churn-28d-later", kind=before.kind, trained_as_of=AS_OF, artefact=made,
        decision=nightly.decide(None, np.ones(2), ""), data_hash="d", code="c", metrics={},
    )  # fmt: skip
    given = nightly.Given(shop, AS_OF, HORIZON)
    assert nightly.score_into(settings, engine, CHURN, given)["model_version"] == later.version
    path = settings.models_dir / later.file
    path.write_bytes(path.read_bytes()[:-100])
    told = nightly.score_into(settings, engine, CHURN, given)
    assert told["model_version"] == before.version
    assert any(later.file in alarm for alarm in told["alarms"])
    assert nightly.findings({"churn": told})[0]["kind"] == "drift"


def test_drift_makes_a_training_due_before_the_week_has_passed(shop, registry, tmp_path):
    settings = load_settings("tiny")
    train_churn(shop, AS_OF, registry)
    given = nightly.Given(shop, AS_OF + timedelta(days=2), HORIZON)
    told = {
        "model_version": "v", "status": "champion", "trained_as_of": AS_OF.isoformat(),
        "scored": 1, "metrics": {}, "thresholds": {}, "drift": {"x": 0.4}, "alarms": [],
    }  # fmt: skip

    def due(alarms):
        nightly.write_runs(shop, "run", AS_OF, {"churn": {**told, "alarms": alarms}})
        shop.execute("create or replace view model_runs as select * from scores.model_runs")
        return nightly.why_due(settings, registry.engine, CHURN, given)

    assert due([]) is None
    assert due(["x has drifted"]) == "drift: x has drifted"
