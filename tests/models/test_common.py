"""Metrics, calibration and the card that all models share."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from models.common import card, metrics
from models.common.calibration import fit_calibration
from models.common.errors import ModelDataError


@pytest.fixture
def sample() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(7)
    chance = expit(random.normal(-1, 1.2, 20_000))
    return (random.random(20_000) < chance).astype(float), chance


def test_a_true_probability_is_perfectly_calibrated(sample):
    label, chance = sample
    figures = metrics.binary_metrics(label, chance)
    assert figures["calibration_slope"] == pytest.approx(1, abs=0.06)
    assert figures["calibration_intercept"] == pytest.approx(0, abs=0.06)
    assert figures["ece"] < 0.015


def test_calibration_mends_an_overconfident_score_without_changing_the_order(sample):
    label, chance = sample
    raw = expit(2.5 * logit(chance) + 0.8)
    mended = fit_calibration(label[:10_000], raw[:10_000]).apply(raw[10_000:])
    figures = metrics.binary_metrics(label[10_000:], mended)
    assert figures["calibration_slope"] == pytest.approx(1, abs=0.08)
    assert (np.argsort(mended) == np.argsort(raw[10_000:])).all()


def test_a_score_that_ranks_the_wrong_way_round_is_refused(sample):
    label, chance = sample
    with pytest.raises(ModelDataError, match="wrong way"):
        fit_calibration(label, 1 - chance)


def test_one_class_only_moves_the_level_and_gives_no_auc():
    figures = metrics.binary_metrics(np.zeros(50), np.linspace(0.1, 0.9, 50))
    assert np.isnan(figures["auc"])
    calibrated = fit_calibration(np.zeros(50), np.full(50, 0.4)).apply(np.full(50, 0.4))
    assert calibrated.max() < 0.05


def test_lift_counts_ties_by_their_mean():
    label = np.array([1.0] * 10 + [0.0] * 90)
    assert metrics.lift_top_tenth(label, np.zeros(100)) == pytest.approx(1.0)
    assert metrics.lift_top_tenth(label, label) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("label", "score", "message"),
    [
        ([], [], "no labelled rows"),
        ([0, 2], [0.1, 0.2], "0 or 1"),
        ([0, 1], [0.1, np.nan], "not finite"),
        ([0, 1], [0.1, 1.2], "between 0 and 1"),
        ([0, 1], [0.1], "shape"),
    ],
)
def test_bad_input_is_named(label, score, message):
    with pytest.raises(ModelDataError, match=message):
        metrics.binary_metrics(label, score)


def test_a_challenger_must_beat_more_than_noise(sample):
    label, chance = sample
    losses = metrics.log_losses(label, chance)
    worse = metrics.log_losses(label, np.full_like(chance, label.mean()))
    assert metrics.paired_gain(worse, losses)["low"] > 0
    assert metrics.paired_gain(losses, worse)["low"] < 0
    assert metrics.paired_gain(losses, losses)["low"] == 0


def test_stability_index_sees_a_shift_and_missing_values():
    random = np.random.default_rng(3)
    before = random.normal(size=5000)
    assert metrics.population_stability(before, random.normal(size=5000)) < 0.02
    assert metrics.population_stability(before, random.normal(1, 1, size=5000)) > 0.2
    holes = np.where(random.random(5000) < 0.3, np.nan, random.normal(size=5000))
    assert metrics.population_stability(before, holes) > 0.2


def test_card_names_its_pictures_and_is_the_same_twice(sample):
    label, chance = sample
    made = [
        card.render(
            card.ModelCard(
                title="Churn",
                summary="Good.",
                facts={"rows": 1234567, "share": 0.25, "a|b": "c|d"},
                tables=[card.CardTable("Figures", pd.DataFrame({"auc": [0.8765, np.nan]}))],
                pictures=[
                    card.calibration_picture(label, chance),
                    card.gain_picture(label, {"model": chance, "chance": label * 0}),
                    card.drift_picture(chance, chance),
                    card.bars_picture(["one", "two"], [1.0, 2.0], "Importance", "importance"),
                ],
                limits=["Not for credit."],
            )
        )
        for _ in range(2)
    ]
    assert made[0] == made[1]
    for name, png in made[0].pictures.items():
        assert png.startswith(b"\x89PNG")
        assert f"]({name})" in made[0].markdown
    assert "1,234,567" in made[0].markdown
    assert "| 0.876 |" in made[0].markdown or "| 0.877 |" in made[0].markdown
    assert "n/a" in made[0].markdown
