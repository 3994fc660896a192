"""Fitting the candidates for expected orders and spend, and choosing among them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from models.common.btyd import (
    ASSUMED_PARETO,
    Basket,
    ParetoNBD,
    fit_basket,
    fit_pareto,
    purchases,
)
from models.common.errors import ModelDataError
from models.common.features import informative, matrix
from models.common.metrics import distribution
from models.common.windows import Windows, rows_of
from models.value.evaluate import TARGETS, compare, shortfall

Floats = NDArray[np.float64]
RECENCY = "recency"
LAST_PERIOD = "last period"
QUARTER = "13-week rate"
BTYD = "buy till you die"
BOOSTING = "gradient boosting"
# Geometric means of boosting and buy till you die -> share of the latter.
BLENDS = {"blend": 1 / 2, "blend, mostly boosting": 1 / 3, "blend, mostly till you die": 2 / 3}
CANDIDATES = (*BLENDS, BOOSTING, BTYD, QUARTER, LAST_PERIOD, RECENCY)
# How far the last window's total may move a forecast.
MOST_FRESH = 2.0
# A steeper level would follow the few who buy most and nobody else.
MOST_POWER = 3.0
LOW, HIGH = 0.1, 0.9
_INTERVAL_BINS = 20
# Inputs whose drift is watched, and the forecast itself.
WATCHED = ("recency_days", "orders_13w", "orders_52w", "spend_cents_52w", "basket_cents")
FORECAST = "expected_orders"


@dataclass(frozen=True)
class Level:
    """``exp(constant) * raw ** power``: a candidate's forecast brought to the level that came."""

    power: float = 1.0
    constant: float = 0.0

    def apply(self, raw: Floats) -> Floats:
        """Forecast of raw ones."""
        forecast: Floats = np.exp(self.constant + self.power * np.log(np.maximum(raw, 1e-4)))
        return forecast


@dataclass(frozen=True)
class Interval:
    """Quantiles of what came, by the size of the forecast; read off between the points."""

    at: Floats
    low: Floats
    high: Floats

    def read(self, forecast: Floats) -> tuple[Floats, Floats]:
        """10 % and 90 % quantile for each forecast."""
        scale = np.maximum(forecast / self.at[-1], 1.0)
        low = np.interp(forecast, self.at, self.low) * scale
        high = np.interp(forecast, self.at, self.high) * scale
        return np.minimum(low, forecast), np.maximum(high, forecast)


@dataclass(frozen=True)
class ValueModel:
    """Expected orders and spend within a horizon.

    Attributes:
        chosen: target -> candidate.
        btyd, basket: the fitted processes; ``orders_a_visit`` turns purchase days into orders.
        levels: target -> candidate -> correction from the calibration window.
        fresh: target -> candidate -> what came over what was forecast in the choice window, the
            last one that may be looked at: levels age.
        intervals: target -> quantiles of the chosen candidate, from the choice window.
        choice: figures of all candidates on the choice window.
        learned_until: the last day that the fit or the levels have seen.
        knows_season: whether forecasts are to be multiplied by the season's factor.
        reference: distributions of inputs and forecast on the choice window; drift is measured
            from it.
    """

    horizon_days: int
    chosen: dict[str, str]
    btyd: ParetoNBD
    basket: Basket
    orders_a_visit: float
    columns: list[int]
    boosting: dict[str, HistGradientBoostingRegressor]
    levels: dict[str, dict[str, Level]]
    intervals: dict[str, Interval]
    choice: pd.DataFrame | None
    seed: int
    learned_until: str = ""
    knows_season: bool = False
    fresh: dict[str, dict[str, float]] = field(default_factory=dict)
    reference: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def to_artefact(self) -> dict[str, Any]:
        """Plain values and the estimators, as the registry keeps them."""
        return {
            **self.__dict__,
            "btyd": self.btyd.parameters,
            "basket": self.basket.parameters,
            "levels": {
                target: {name: [one.power, one.constant] for name, one in levels.items()}
                for target, levels in self.levels.items()
            },
            "intervals": {
                target: [one.at, one.low, one.high] for target, one in self.intervals.items()
            },
            "choice": None if self.choice is None else self.choice.to_dict("list"),
        }

    @staticmethod
    def from_artefact(values: dict[str, Any]) -> "ValueModel":
        """The model that ``to_artefact`` took apart."""
        return ValueModel(
            **{
                **values,
                "btyd": ParetoNBD(*values["btyd"]),
                "basket": Basket(*values["basket"]),
                "levels": {
                    target: {name: Level(*one) for name, one in levels.items()}
                    for target, levels in values["levels"].items()
                },
                "intervals": {
                    target: Interval(*one) for target, one in values["intervals"].items()
                },
                "choice": None if values["choice"] is None else pd.DataFrame(values["choice"]),
            }
        )


def _rate(frame: pd.DataFrame, prefix: str, horizon_days: int) -> Floats:
    """The last horizon's sum, from the window that is nearest to it in length."""
    week = min((1, 2, 4, 8, 13, 26, 52), key=lambda one: abs(one * 7 - horizon_days))
    values: Floats = frame[f"{prefix}_{week}w"].to_numpy(dtype=np.float64)
    return np.maximum(values, 0.0) * horizon_days / (week * 7)


def raw_forecasts(
    model: ValueModel, frame: pd.DataFrame, threads: int = 1, *, only_used: bool = False
) -> dict[str, dict[str, Floats]]:
    """target -> candidate -> forecast before the level is corrected (the blend comes after).

    With ``only_used`` the boosting, which takes most of the time, is left out where neither it
    nor the blend was chosen.
    """
    horizon = model.horizon_days
    visits = model.btyd.expected(purchases(frame), horizon / 7.0) * model.orders_a_visit
    count = frame["orders_total"].to_numpy(dtype=np.float64)
    mean = frame["spend_cents_total"].to_numpy(dtype=np.float64) / np.maximum(count, 1.0)
    basket = model.basket.expected(mean, count)
    recency = 1.0 / (7.0 + frame["recency_days"].to_numpy(dtype=np.float64))
    forecasts = {
        "orders": {
            BTYD: visits,
            QUARTER: _quarter(frame, "orders", horizon),
            LAST_PERIOD: _rate(frame, "orders", horizon),
            RECENCY: recency,
        },
        "spend": {
            BTYD: visits * basket,
            QUARTER: _quarter(frame, "spend_cents", horizon),
            LAST_PERIOD: _rate(frame, "spend_cents", horizon),
            RECENCY: recency * 1000.0,
        },
    }
    if model.boosting:
        values = matrix(frame)[:, model.columns]
        with threadpool_limits(limits=threads):
            for target, estimator in model.boosting.items():
                if only_used and model.chosen[target] not in (BOOSTING, *BLENDS):
                    continue
                forecasts[target][BOOSTING] = estimator.predict(values)
    return forecasts


def _quarter(frame: pd.DataFrame, prefix: str, horizon_days: int) -> Floats:
    values: Floats = frame[f"{prefix}_13w"].to_numpy(dtype=np.float64)
    return np.maximum(values, 0.0) * horizon_days / 91.0


def forecasts(
    model: ValueModel,
    frame: pd.DataFrame,
    threads: int = 1,
    *,
    only_used: bool = False,
    freshly: bool = True,
) -> dict[str, dict[str, Floats]]:
    """target -> candidate -> forecast at its level, the blends among them.

    Args:
        model: fitted.
        frame: ``customer_features``.
        threads: cap on OpenMP threads.
        only_used: leave out the boosting where it is not a part of what was chosen.
        freshly: at the level of the choice window; without it the choice window has not been seen.
    """
    made: dict[str, dict[str, Floats]] = {}
    for target, raw in raw_forecasts(model, frame, threads, only_used=only_used).items():
        levels = model.levels[target]
        found = {name: levels[name].apply(values) for name, values in raw.items()}
        if BOOSTING in raw:
            # A champion of an earlier release knows one blend only.
            for name, share in ((name, BLENDS[name]) for name in BLENDS if name in levels):
                found[name] = levels[name].apply(_mixed(found, share))
        fresh = model.fresh.get(target, {}) if freshly else {}
        made[target] = {name: values * fresh.get(name, 1.0) for name, values in found.items()}
    return made


def _mixed(found: Mapping[str, Floats], share: float) -> Floats:
    mixed: Floats = found[BTYD] ** share * found[BOOSTING] ** (1.0 - share)
    return mixed


def train(
    frame: pd.DataFrame,
    windows: Windows,
    season: Mapping[date, float],
    seed: int = 42,
    threads: int = 1,
) -> ValueModel:
    """Fit on the training origins, bring to level on the next window, choose on the one after.

    Args:
        frame: ``customer_features`` with ``future_orders`` and ``future_spend_cents``.
        windows: see ``models.common.windows``.
        season: factor of each origin (see ``models.value.season``), 1 where it is unknown.
        seed: of samples and boosting.
        threads: cap on OpenMP threads.

    Raises:
        ModelDataError: too few customers, or nobody has bought twice.
    """
    fit_rows = rows_of(frame, *windows.training)
    calibration_rows = rows_of(frame, windows.calibration)
    choice_rows = rows_of(frame, windows.choice)
    for name, rows in (("calibration", calibration_rows), ("choice", choice_rows)):
        if len(rows) < 50 or not rows["future_orders"].any():
            raise ModelDataError(
                f"{len(rows)} customers with {int(rows['future_orders'].sum())} orders in the "
                f"{name} window; 50 customers and one order are needed"
            )
    base = without_history(rows_of(frame, windows.training[-1]), windows.horizon_days, seed)
    values = matrix(fit_rows)
    columns = informative(values)
    factor = fit_rows["as_of"].map(pd.Series(dict(season))).to_numpy(dtype=np.float64)
    boosting = {}
    with threadpool_limits(limits=threads):
        for target in TARGETS:
            label = np.maximum(fit_rows[TARGETS[target]].to_numpy(dtype=np.float64), 0.0) / factor
            boosting[target] = HistGradientBoostingRegressor(
                loss="poisson",
                max_iter=150,
                learning_rate=0.05,
                max_leaf_nodes=8,
                min_samples_leaf=min(300, max(20, len(fit_rows) // 100)),
                l2_regularization=10.0,
                early_stopping=False,
                random_state=seed,
            ).fit(values[:, columns], label)
    plain = {target: dict.fromkeys(CANDIDATES, Level()) for target in TARGETS}
    model = ValueModel(
        **{**base.__dict__, "columns": columns, "boosting": boosting, "levels": plain}
    )
    levels: dict[str, dict[str, Level]] = {target: {} for target in TARGETS}
    raw = raw_forecasts(model, calibration_rows, threads)
    for target, column in TARGETS.items():
        label = np.maximum(calibration_rows[column].to_numpy(dtype=np.float64), 0.0)
        label = label / season[windows.calibration]
        for name, forecast in raw[target].items():
            levels[target][name] = fit_level(forecast, label)
        levelled = {name: levels[target][name].apply(raw[target][name]) for name in raw[target]}
        for name, share in BLENDS.items():
            levels[target][name] = fit_level(_mixed(levelled, share), label)
    model = ValueModel(**{**model.__dict__, "levels": levels})
    made = forecasts(model, choice_rows, threads)
    choice = compare(choice_rows, made, season[windows.choice])
    # The window that gave two numbers to each candidate still tells well how each of them ranks.
    before = compare(
        calibration_rows,
        forecasts(model, calibration_rows, threads),
        season[windows.calibration],
    )
    chosen = {
        target: (shortfall(choice, target) + shortfall(before, target)).idxmin()
        for target in TARGETS
    }
    fresh = {
        target: dict(zip(rows["forecast"], (1.0 / rows["total"]).clip(1 / MOST_FRESH, MOST_FRESH),
                         strict=True))
        for target, rows in choice.groupby("target")
    }  # fmt: skip
    # Where the season is not known, a holiday quarter would be taken for the level.
    knows_season = any(factor != 1.0 for factor in season.values())
    model = ValueModel(**{**model.__dict__, "fresh": fresh if knows_season else {}})
    made = forecasts(model, choice_rows, threads)
    intervals = {
        target: fit_interval(
            made[target][str(chosen[target])],
            choice_rows[column].to_numpy(dtype=np.float64) / season[windows.choice],
        )
        for target, column in TARGETS.items()
    }
    numbers = {name: choice_rows[name].to_numpy(dtype=np.float64) for name in WATCHED}
    numbers[FORECAST] = made["orders"][str(chosen["orders"])]
    return ValueModel(
        **{
            **model.__dict__,
            "chosen": chosen,
            "choice": choice,
            "intervals": intervals,
            "learned_until": windows.learned_until.isoformat(),
            "knows_season": knows_season,
            "reference": {name: distribution(values) for name, values in numbers.items()},
        }
    )


def without_history(frame: pd.DataFrame, horizon_days: int, seed: int = 42) -> ValueModel:
    """Buy till you die with gamma-gamma alone: no label is needed, and nothing checks it.

    Raises:
        ModelDataError: too few customers, or nobody has bought twice.
    """
    btyd = fit_pareto(frame, seed)
    count = frame["orders_total"].to_numpy(dtype=np.float64)
    mean = frame["spend_cents_total"].to_numpy(dtype=np.float64) / np.maximum(count, 1.0)
    visits = frame["visits"].to_numpy(dtype=np.float64)
    return ValueModel(
        horizon_days=horizon_days,
        chosen=dict.fromkeys(TARGETS, BTYD),
        btyd=btyd,
        basket=fit_basket(mean, count, seed),
        orders_a_visit=float(count.sum() / visits.sum()),
        columns=[],
        boosting={},
        levels={target: dict.fromkeys(CANDIDATES, Level()) for target in TARGETS},
        intervals={},
        choice=None,
        seed=seed,
    )


def assumed(frame: pd.DataFrame, horizon_days: int) -> ValueModel:
    """Where not even buy till you die can be fitted: an assumed pace and the mean basket of all."""
    count = float(frame["orders_total"].sum()) if len(frame) else 0.0
    mean = float(frame["spend_cents_total"].sum()) / count if count else 0.0
    return ValueModel(
        horizon_days=horizon_days,
        chosen=dict.fromkeys(TARGETS, BTYD),
        btyd=ASSUMED_PARETO,
        # Mean p * v / (q - 1): everyone's basket is that of all until there is more to go by.
        basket=Basket(1.0, 1001.0, max(mean, 0.0) * 1000.0),
        orders_a_visit=1.0,
        columns=[],
        boosting={},
        levels={target: dict.fromkeys(CANDIDATES, Level()) for target in TARGETS},
        intervals={},
        choice=None,
        seed=0,
    )


def losses(forecast: Mapping[str, Floats], frame: pd.DataFrame) -> Floats:
    """Poisson loss of each customer, of orders and of spend counted in mean orders.

    Args:
        forecast: target -> forecast, the season in it.
        frame: with ``future_orders`` and ``future_spend_cents``.
    """
    orders = frame["future_orders"].to_numpy(dtype=np.float64)
    cents = np.maximum(frame["future_spend_cents"].to_numpy(dtype=np.float64), 0.0)
    basket = max(float(cents.sum()) / max(float(orders.sum()), 1.0), 1.0)
    total = np.zeros(len(frame))
    for target, label, unit in (("orders", orders, 1.0), ("spend", cents, basket)):
        expected = np.maximum(forecast[target] / unit, 1e-6)
        total += expected - label / unit * np.log(expected)
    return total


def fit_level(raw: Floats, label: Floats) -> Level:
    """Poisson regression of the label on the logarithm of the forecast (Newton steps).

    Whatever the slope, the forecasts then have the label's sum.
    """
    logs = np.log(np.maximum(raw, 1e-4))
    scale = max(float(label.mean()), 1e-9)
    # Centred, so that slope and level do not pull at each other, however large the amounts are.
    design = np.column_stack([logs - logs.mean(), np.ones_like(logs)])
    weights = np.array([1.0, -np.log(np.exp(design[:, 0]).mean())])
    target = label / scale
    for _ in range(100):
        mean = np.exp(np.clip(design @ weights, -30, 30))
        gradient = design.T @ (mean - target) + 1e-3 * (weights - [1.0, weights[1]])
        curve = design.T @ (design * mean[:, None]) + 1e-3 * np.eye(2)
        step = np.clip(np.linalg.solve(curve, gradient), -1.0, 1.0)
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    # A forecast that falls as the raw one rises would turn the ranking round.
    power = float(weights[0]) if 0.05 < weights[0] < MOST_POWER else 1.0
    level = Level(power)
    return Level(power, float(np.log(scale / max(level.apply(raw).mean(), 1e-9))))


def fit_interval(forecast: Floats, label: Floats) -> Interval:
    """Quantiles of what came in groups of equal size by forecast, never falling."""
    order = np.argsort(forecast, kind="stable")
    groups = np.array_split(order, min(_INTERVAL_BINS, max(1, len(order) // 25)))
    at = np.array([forecast[group].mean() for group in groups])
    low = np.array([np.quantile(label[group], LOW) for group in groups])
    high = np.array([np.quantile(label[group], HIGH) for group in groups])
    return Interval(
        np.maximum.accumulate(np.maximum(at, 1e-9)),
        np.maximum.accumulate(np.maximum(low, 0.0)),
        np.maximum.accumulate(high),
    )
