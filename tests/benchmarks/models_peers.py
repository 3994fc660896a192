"""Peers of the models: LightGBM, and lifetimes' BG/NBD with gamma-gamma.

What belongs here: each peer used as its own documentation shows. Runs in an environment of its own
(requirements-bench.txt) and knows nothing of customer360: arrays in, an array out.

    .venv-bench/bin/python tests/benchmarks/models_peers.py lightgbm GIVEN.npz FOUND.npy SEED
"""

import sys
import warnings

import numpy as np


def lightgbm(given: dict[str, np.ndarray], seed: str) -> np.ndarray:
    """Probability of ``label``; a small model, the same one for every data set.

    Its size is that of the published figure on the Telco data.
    """
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(
        n_estimators=200, learning_rate=0.03, num_leaves=12, min_child_samples=40,
        subsample=0.8, subsample_freq=1, colsample_bytree=0.6, n_jobs=1, verbose=-1,
        random_state=int(float(seed)),
    )  # fmt: skip
    categories = [int(place) for place in given["categories"]]
    model.fit(given["fit"], given["label"], categorical_feature=categories or "auto")
    return model.predict_proba(given["held"])[:, 1]


def lightgbm_poisson(given: dict[str, np.ndarray], seed: str) -> np.ndarray:
    """Expected ``label``, by the same small model with a Poisson loss."""
    from lightgbm import LGBMRegressor

    model = LGBMRegressor(
        objective="poisson", n_estimators=200, learning_rate=0.03, num_leaves=12,
        min_child_samples=40, subsample=0.8, subsample_freq=1, colsample_bytree=0.6, n_jobs=1,
        verbose=-1, random_state=int(float(seed)),
    )  # fmt: skip
    return model.fit(given["fit"], given["label"]).predict(given["held"])


def bgnbd(given: dict[str, np.ndarray], weeks: str) -> np.ndarray:
    """Columns: expected purchases in so many weeks, and their value by gamma-gamma."""
    from lifetimes import BetaGeoFitter, GammaGammaFitter

    repeats, last, age, mean = (given[name] for name in ("repeats", "last", "age", "mean"))
    # The plain fit does not converge on customers who buy several times a week.
    for penalty in (0.0, 0.001, 0.01, 0.1):
        try:
            model = BetaGeoFitter(penalizer_coef=penalty).fit(repeats, last, age)
        except Exception:  # noqa: BLE001, lifetimes' own ConvergenceError has no common parent
            continue
        break
    else:
        raise SystemExit("BG/NBD does not converge")
    count = model.conditional_expected_number_of_purchases_up_to_time(
        float(weeks), repeats, last, age
    )
    known = (repeats > 0) & (mean > 0)
    baskets = GammaGammaFitter(penalizer_coef=0.001).fit(repeats[known], mean[known])
    basket = baskets.conditional_expected_average_profit(
        np.maximum(repeats, 0), np.maximum(mean, 1e-6)
    )
    return np.column_stack([np.nan_to_num(count), np.nan_to_num(count) * np.asarray(basket)])


def main() -> None:
    """One peer, one answer."""
    name, given, found, number = sys.argv[1:5]
    warnings.simplefilter("ignore")
    peers = {"lightgbm": lightgbm, "lightgbm_poisson": lightgbm_poisson, "bgnbd": bgnbd}
    np.save(found, np.asarray(peers[name](dict(np.load(given)), number), dtype=np.float64))


if __name__ == "__main__":
    main()
