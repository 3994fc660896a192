"""Value: forecasts that hold, are chosen on the past, and keep their order."""

import json
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from customer360.exceptions import ModelError
from customer360.scoring.commands import score
from customer360.scoring.value import fit_value, score_value
from models.value.evaluate import compare, shortfall
from models.value.predict import tiers
from models.value.season import season_factors
from models.value.train import fit_interval, fit_level

AS_OF = date(2026, 1, 31)


@pytest.fixture
def fitted(shop):
    return fit_value(shop, AS_OF, 28)


def test_forecasts_rank_and_add_up_on_the_report_window(fitted):
    report = fitted.report.set_index(["target", "forecast"])
    for target, name in fitted.model.chosen.items():
        row = report.loc[(target, name)]
        assert row["auc"] > 0.75
        assert 0.8 < row["total"] < 1.2
        assert 0.7 < fitted.coverage[target] <= 1
    assert {"recency", "13-week rate", "last period", "buy till you die", "blend"} <= set(
        fitted.report["forecast"]
    )


def test_scores_lie_within_their_intervals_and_tiers_follow_the_spend(shop, fitted):
    scores = score_value(shop, fitted)
    for target in ("orders", "spend"):
        middle = scores[f"expected_{target}"]
        assert (scores[f"expected_{target}_low"] <= middle + 1e-6).all()
        assert (middle <= scores[f"expected_{target}_high"] + 1e-6).all()
        assert (scores[f"expected_{target}_low"] >= 0).all()
    spend = scores.groupby("tier")["expected_spend"]
    assert spend.min()["top"] >= spend.max()["high"] >= spend.max()["middle"]
    assert (scores["tier"] == "top").mean() == pytest.approx(0.1, abs=0.01)
    again = score_value(shop, fit_value(shop, AS_OF, 28))
    pd.testing.assert_frame_equal(scores, again)


def test_the_future_changes_no_forecast(shop, fitted):
    before = score_value(shop, fitted)
    shop.execute("insert into orders select customer_id, date '2026-02-01', 1, 1 from orders")
    pd.testing.assert_frame_equal(before, score_value(shop, fit_value(shop, AS_OF, 28)))


def test_a_short_history_is_forecast_by_the_process_alone(shop):
    early = fit_value(shop, date(2025, 5, 31), 91)
    assert early.report is None
    assert "too little history" in early.why
    scores = score_value(shop, early)
    came = shop.execute(
        "select count(*) from orders where ordered_on > ? and ordered_on <= ? and customer_id in "
        "(select customer_id from orders where ordered_on <= ?)",
        [early.as_of, early.as_of + timedelta(days=91), early.as_of],
    ).fetchone()[0]
    assert scores["expected_orders"].sum() == pytest.approx(came, rel=0.25)
    assert (scores["expected_orders_high"] >= scores["expected_orders"]).all()


def test_where_nobody_came_back_the_pace_is_assumed_and_said_to_be(shop):
    shop.execute("delete from orders where ordered_on > '2025-01-01'")
    fitted = fit_value(shop, date(2025, 1, 2), 28)
    assert fitted.report is None
    assert "too little history" in fitted.why
    assert "its pace is assumed" in fitted.why
    scores = score_value(shop, fitted)
    assert scores["expected_orders"].between(0, 4).all()
    assert (scores["expected_spend"] > 0).all()


def test_without_any_order_there_is_a_clear_error(shop):
    shop.execute("delete from orders")
    with pytest.raises(ModelError, match="no orders until"):
        fit_value(shop, date(2025, 1, 2), 28)


@pytest.mark.parametrize("knows_season", [True, False])
def test_the_total_follows_the_last_window_where_the_season_is_known(
    shop, monkeypatch, knows_season
):
    """A shop whose customers suddenly buy twice as often: older levels know nothing of it."""
    flat = 1.0001 if knows_season else 1.0
    monkeypatch.setattr(
        "customer360.scoring.value.season_factors",
        lambda daily_orders, origins, horizon_days: dict.fromkeys(origins, flat),
    )
    as_of, horizon = date(2026, 1, 31), 28
    since = as_of - timedelta(days=2 * horizon)
    shop.execute(
        "insert into orders select customer_id, ordered_on, amount_cents, quantity from orders "
        "where ordered_on > ?",
        [since],
    )
    fitted = fit_value(shop, as_of, horizon)
    if not knows_season:
        assert not fitted.model.fresh
        return
    assert all(factor > 1.2 for factor in fitted.model.fresh["orders"].values())
    report = fitted.report[fitted.report["target"] == "orders"].set_index("forecast")
    assert report.loc[fitted.model.chosen["orders"], "total"] == pytest.approx(1.0, abs=0.35)


def test_the_level_is_mended_without_changing_the_order():
    random = np.random.default_rng(1)
    raw = random.gamma(2, 2, 50_000)
    came = random.poisson(0.3 * raw**0.8)
    level = fit_level(raw, came.astype(float))
    mended = level.apply(raw)
    assert mended.sum() == pytest.approx(came.sum(), rel=0.01)
    assert level.power == pytest.approx(0.8, abs=0.05)
    assert (np.argsort(mended) == np.argsort(raw)).all()
    upside_down = fit_level(raw, 20 - raw)
    assert upside_down.power == 1.0


@pytest.mark.parametrize("seed", range(8))
def test_levels_keep_the_sum_of_few_and_uneven_amounts(seed):
    """Cents of few customers: most buy nothing, one buys a car; the raw forecast is overfitted."""
    random = np.random.default_rng(seed)
    raw = np.exp(random.normal(11, 2, 900))
    came = np.where(random.random(900) < 0.3, raw**0.3 * np.exp(random.normal(8, 1, 900)), 0.0)
    assert fit_level(raw, came).apply(raw).sum() == pytest.approx(came.sum())


def test_to_forecast_nothing_is_never_the_best_forecast():
    random = np.random.default_rng(0)
    came = np.where(random.random(400) < 0.2, np.exp(random.normal(10, 2, 400)), 0.0)
    frame = pd.DataFrame({"future_orders": came > 0, "future_spend_cents": came})
    rough = np.full(400, came.mean()) * random.uniform(0.5, 1.5, 400)
    made = {target: {"nothing": came * 1e-6, "rough": rough} for target in ("orders", "spend")}
    table = compare(frame, made)
    errors = table[table["target"] == "spend"].set_index("forecast")["error"]
    assert errors["nothing"] < errors["rough"]
    assert shortfall(table, "spend").idxmin() == "rough"


def test_intervals_hold_what_they_promise():
    random = np.random.default_rng(2)
    forecast = random.gamma(2, 3, 8000)
    came = random.poisson(forecast).astype(float)
    low, high = fit_interval(forecast[:4000], came[:4000]).read(forecast[4000:])
    inside = (came[4000:] >= low) & (came[4000:] <= high)
    assert 0.78 < inside.mean() < 0.93
    assert ((low <= forecast[4000:]) & (forecast[4000:] <= high)).all()


def test_a_season_is_used_only_where_every_window_knows_it():
    days = pd.date_range("2023-01-01", "2025-11-30")
    orders = pd.Series(np.where(days.month == 12, 200.0, 100.0), index=days.date)
    november = date(2025, 11, 30)
    factor = season_factors(orders, [november], 28)[november]
    assert factor == pytest.approx(2.0, rel=0.05)
    both = season_factors(orders, [date(2023, 6, 1), november], 28)
    assert set(both.values()) == {1.0}
    assert season_factors(pd.Series(dtype=float), [november], 28)[november] == 1.0


def test_ties_and_small_companies_have_tiers():
    assert tiers(np.array([5.0])) == ["top"]
    assert sorted(set(tiers(np.zeros(100)))) == ["high", "low", "middle", "top"]


def test_the_command_writes_forecasts_and_a_card(tmp_path, shop_orders, monkeypatch):
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path / "data"))
    shop_orders.rename(columns={"ordered_on": "at"}).to_parquet(tmp_path / "orders.parquet")
    (tmp_path / "m.yml").write_text(
        "fields: {customer_id: customer_id, at: at, amount: amount_cents}", encoding="utf-8"
    )
    arguments = [
        "value", str(tmp_path / "orders.parquet"), "--mapping", str(tmp_path / "m.yml"),
        "--as-of", "2026-01-31", "--horizon-days", "28", "--json",
        "--out", str(tmp_path / "out.csv"),
    ]  # fmt: skip
    done = CliRunner().invoke(score, arguments)
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    out = pd.read_csv(tmp_path / "out.csv")
    assert figures["checked"]
    assert figures["expected_orders"] == pytest.approx(out["expected_orders"].sum(), rel=1e-4)
    assert {"expected_spend", "expected_spend_low", "expected_spend_high", "tier"} <= set(out)
    assert "The season is unknown" in (tmp_path / "out-card" / "card.md").read_text()
