"""Clusters: of sensible size, named by what sets them apart, stable from run to run."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from models.common.errors import ModelDataError
from models.segments.clusters import fit_clusters, movement, profile

FEATURES = ["spend", "orders", "baby_share", "discount_share"]


def company(rows: int = 3000, seed: int = 1, grow: float = 0.0) -> tuple[pd.DataFrame, np.ndarray]:
    """Four kinds of customers; ``grow`` is what a week changes in everyone's numbers."""
    random = np.random.default_rng(seed)
    kind = random.choice(4, rows, p=[0.35, 0.3, 0.2, 0.15])
    spend = np.array([50, 200, 220, 2000])[kind] * random.lognormal(0, 0.3, rows)
    orders = random.poisson(np.array([2, 8, 9, 30])[kind]) + 1.0
    baby = np.clip(np.array([0.05, 0.05, 0.7, 0.1])[kind] + random.normal(0, 0.06, rows), 0, 1)
    discount = np.clip(np.array([0.8, 0.2, 0.4, 0.1])[kind] + random.normal(0, 0.08, rows), 0, 1)
    frame = pd.DataFrame(
        {"spend": spend, "orders": orders, "baby_share": baby, "discount_share": discount},
        index=[f"c{row}" for row in range(rows)],
    )
    week = np.random.default_rng(seed + 100)
    frame["spend"] *= 1 + grow * week.random(rows)
    frame["orders"] += week.random(rows) < grow
    return frame, kind


def test_the_kinds_of_customers_are_found() -> None:
    frame, kind = company()
    clusters = fit_clusters(frame, FEATURES)
    assert adjusted_rand_score(kind, clusters.predict(frame)) > 0.9
    assert len(clusters.labels) == 4


def test_groups_keep_their_number_and_name_from_week_to_week() -> None:
    frame, _ = company()
    first = fit_clusters(frame, FEATURES)
    later, _ = company(grow=0.1)
    second = fit_clusters(later, FEATURES, seed=7, last=first)
    before, after = first.predict(frame), second.predict(later)
    assert adjusted_rand_score(before, after) >= 0.9
    assert (before == after).mean() > 0.95
    assert dict(zip(second.labels, second.names, strict=True)) == dict(
        zip(first.labels, first.names, strict=True)
    )


def test_a_group_that_is_new_gets_a_number_that_was_never_used() -> None:
    frame, kind = company()
    first = fit_clusters(frame[kind != 2], FEATURES, groups=3)
    second = fit_clusters(frame, FEATURES, groups=4, last=first)
    assert set(first.labels) < set(second.labels)
    new = (set(second.labels) - set(first.labels)).pop()
    assert new == max(first.labels) + 1
    assert (kind[second.predict(frame) == new] == 2).mean() > 0.8


def test_no_group_is_tiny_or_nearly_everyone() -> None:
    frame, _ = company()
    frame.iloc[:5, 0] = 1e9
    clusters = fit_clusters(frame, FEATURES)
    shares = pd.Series(clusters.predict(frame)).value_counts(normalize=True)
    assert shares.between(0.02, 0.5).all()


def test_a_last_run_that_no_longer_fits_is_given_up() -> None:
    frame, kind = company()
    first = fit_clusters(frame[kind != 2], FEATURES, groups=3)
    grown = pd.concat([frame[kind == 1]] * 4 + [frame[kind != 1]], ignore_index=True)
    second = fit_clusters(grown, FEATURES, last=first)
    shares = pd.Series(second.predict(grown)).value_counts(normalize=True)
    assert shares.between(0.02, 0.5).all()


def test_a_crowd_that_cannot_be_divided_within_the_bounds_is_said() -> None:
    frame = pd.DataFrame({"x": [0.0] * 290 + [1.0] * 10})
    with pytest.raises(ModelDataError, match="between 2 % and 50 %"):
        fit_clusters(frame, ["x"], groups=2)


def test_names_and_descriptions_say_what_sets_a_group_apart() -> None:
    frame, kind = company()
    clusters = fit_clusters(frame, FEATURES)
    table = profile(frame, clusters, clusters.predict(frame)).set_index("segment")
    family = pd.Series(clusters.predict(frame)[kind == 2]).mode()[0]
    assert "high baby share" in table.loc[family, "name"]
    assert "baby share 0.6" in table.loc[family, "description"]
    assert "(all: " in table.loc[family, "description"]
    assert table["name"].is_unique
    assert table["customers"].sum() == len(frame)


def test_who_lives_at_a_border_stays_and_who_has_clearly_moved_goes() -> None:
    frame, _ = company()
    clusters = fit_clusters(frame, FEATURES)
    nearest = pd.Series(clusters.predict(frame))
    strangers = pd.Series([pd.NA] * len(frame), dtype="Int64")
    assert (clusters.predict(frame, strangers) == nearest).all()
    gone = pd.Series(max(clusters.labels) + 1, index=frame.index)
    assert (clusters.predict(frame, gone) == nearest).all()
    # From the middle of one group to that of another, the border is passed later.
    one, other = clusters.labels[:2]
    groups = [frame[(nearest == label).to_numpy()][FEATURES] for label in (one, other)]
    ends = [group.median().to_numpy() for group in groups]
    steps = np.linspace(0.0, 1.0, 201)[:, None]
    way = pd.DataFrame((1 - steps) * ends[0] + steps * ends[1], columns=FEATURES)
    plain = clusters.predict(way)
    held = clusters.predict(way, pd.Series(one, index=way.index))
    assert held[-1] == other
    assert (held == one).sum() > (plain == one).sum() > 0


def test_missing_and_infinite_values_and_constant_columns_do_no_harm() -> None:
    frame, kind = company()
    frame.iloc[::50, 1] = np.nan
    frame.iloc[::70, 0] = np.inf
    frame["same"] = 1.0
    clusters = fit_clusters(frame, [*FEATURES, "same"])
    assert clusters.features == FEATURES
    assert adjusted_rand_score(kind, clusters.predict(frame)) > 0.8


def test_what_cannot_be_grouped_is_refused() -> None:
    frame, _ = company(200)
    with pytest.raises(ModelDataError, match="too few"):
        fit_clusters(frame.head(20), FEATURES)
    with pytest.raises(ModelDataError, match="constant or empty"):
        fit_clusters(frame.assign(one=1.0), ["one"])
    with pytest.raises(ModelDataError, match="city"):
        fit_clusters(frame, ["city"])


def test_movement_counts_who_went_where() -> None:
    before = pd.Series({"a": 0, "b": 0, "c": 1})
    after = pd.Series({"a": 0, "b": 1, "d": 1})
    table = movement(before, after)
    counted = {
        (row.from_segment, row.to_segment): row.customers for row in table.fillna(-1).itertuples()
    }
    assert counted == {(0, 0): 1, (0, 1): 1, (1, -1): 1, (-1, 1): 1}
