"""Labelled churn, sentiment and uplift on public data, beside their peers in the same run.

Run: ``python tests/benchmarks/models_labelled_bench.py [FOLDER]``; the folder of the data is the
argument or CUSTOMER360_BENCH_DATA. A data set or a peer that is absent is said to be so.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold

from customer360.scoring.corpora import corpus
from models.common.tabular import TableEncoder
from models.contractual.evaluate import rule_scores
from models.contractual.train import train as train_churn
from models.sentiment.evaluate import cross_validate as learn_sentiment
from models.sentiment.predict import predict
from models.sentiment.train import GeneralModel, fit_corpus, without_overlap
from models.uplift.evaluate import cross_validate as learn_uplift

Fit = Callable[[pd.DataFrame, np.ndarray, pd.DataFrame, int], np.ndarray]


def ours(fit: pd.DataFrame, label: np.ndarray, held: pd.DataFrame, seed: int) -> np.ndarray:
    """customer360's stack."""
    return train_churn(fit, label, seed).predict(held)


def plain_logistic(
    fit: pd.DataFrame, label: np.ndarray, held: pd.DataFrame, seed: int
) -> np.ndarray:
    """One-hot logistic regression."""
    return rule_scores(fit, label, held, fit.columns[0])[0]


def lightgbm(fit: pd.DataFrame, label: np.ndarray, held: pd.DataFrame, seed: int) -> np.ndarray:
    """A small LightGBM, as in the published baselines."""
    from lightgbm import LGBMClassifier

    encoder = TableEncoder.fit(fit)
    trees = [encoder.for_trees(encoder.readable(frame)) for frame in (fit, held)]
    model = LGBMClassifier(
        n_estimators=200, learning_rate=0.03, num_leaves=12, min_child_samples=40,
        subsample=0.8, subsample_freq=1, colsample_bytree=0.6, n_jobs=1, verbose=-1,
        random_state=seed,
    )  # fmt: skip
    places = [place for place, flag in enumerate(encoder.is_category) if flag]
    model.fit(trees[0], label, categorical_feature=places)
    return model.predict_proba(trees[1])[:, 1]


def churn(name: str, path: Path, id_column: str, label_column: str, seeds: list[int]) -> None:
    """5 folds for each seed; mean over seeds."""
    table = pd.read_csv(path, dtype=str)
    label = table[label_column].isin(["Yes", "1"]).to_numpy(dtype=float)
    features = table.drop(columns=[id_column, label_column])
    peers: dict[str, Fit] = {"customer360": ours, "plain logistic": plain_logistic}
    try:
        import lightgbm as _  # noqa: F401, only whether it is there

        peers["LightGBM"] = lightgbm
    except ImportError:
        print(f"{name}: LightGBM is not installed here; that peer is left out")
    for peer, method in peers.items():
        started, rows = time.perf_counter(), []
        for seed in seeds:
            score = np.zeros(len(label))
            splits = StratifiedKFold(5, shuffle=True, random_state=seed)
            for fit, held in splits.split(features, label):
                score[held] = method(features.iloc[fit], label[fit], features.iloc[held], seed)
            rows.append(
                [
                    roc_auc_score(label, score),
                    average_precision_score(label, score),
                    brier_score_loss(label, score),
                ]
            )
        auc, pr_auc, brier = np.mean(rows, axis=0)
        seconds = (time.perf_counter() - started) / len(seeds)
        print(
            f"{name:22} {peer:22} AUC {auc:.4f}  PR {pr_auc:.4f}  Brier {brier:.4f}  "
            f"{len(seeds)} seed(s), {seconds:.0f} s a seed"
        )


def sentiment(path: Path) -> None:
    """Learned out of fold; without labels as shipped and without overlap; snownlp beside."""
    table = pd.read_csv(path).dropna()
    texts, label = table["review"].tolist(), table["label"].to_numpy(dtype=float)

    def show(who: str, score: np.ndarray, truth: np.ndarray, seconds: float) -> None:
        accuracy = float(((score > 0) == (truth == 1)).mean())
        print(
            f"{'hotel reviews':22} {who:38} AUC {roc_auc_score(truth, score):.4f}  "
            f"accuracy {accuracy:.4f}  {1000 * seconds / len(truth):.2f} ms a text"
        )

    started = time.perf_counter()
    learned = learn_sentiment(texts, label, 5, 42, None)
    show(
        "learned, 5 folds (with training)", learned.sentiment, label, time.perf_counter() - started
    )
    positive, negative = corpus()
    shipped = GeneralModel(fit_corpus(positive, negative))
    started = time.perf_counter()
    score = predict(shipped, texts)
    show("no label, corpus as shipped", score, label, time.perf_counter() - started)
    kept = [without_overlap(part, texts) for part in (positive, negative)]
    lines = sum(map(len, kept))
    clean = GeneralModel(fit_corpus(*kept))
    started = time.perf_counter()
    score = predict(clean, texts)
    show(f"no label, {lines:,} lines, none in data", score, label, time.perf_counter() - started)
    from snownlp import SnowNLP

    some = np.random.default_rng(1).choice(len(texts), 400, replace=False)
    SnowNLP("好").sentiments  # noqa: B018, loads its files
    started = time.perf_counter()
    peer = np.array([2 * SnowNLP(texts[int(row)]).sentiments - 1 for row in some])
    show("snownlp, 400 of them (knows the data)", peer, label[some], time.perf_counter() - started)


def uplift(path: Path) -> None:
    """The men's arm: Qini of all learners, and the verdict."""
    table = pd.read_csv(path)
    treatment = (table["segment"] == "Mens E-Mail").to_numpy(dtype=float)
    features = table.drop(columns=["segment", "visit"])
    found = learn_uplift(features, treatment, table["visit"].to_numpy(dtype=float), 5, 42)
    for row in found.figures.itertuples():
        print(
            f"{'Hillstrom men':22} {row.who:22} Qini {1e4 * row.qini:.1f}e-4 "
            f"({1e4 * row.qini_low:.1f} to {1e4 * row.qini_high:.1f})"
        )
    print(f"{'Hillstrom men':22} left out: {', '.join(found.dropped)}; {found.verdict}")


def main() -> None:
    """All data sets that are there."""
    given = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CUSTOMER360_BENCH_DATA")
    if not given:
        print("no data: give the folder as argument or in CUSTOMER360_BENCH_DATA")
        return
    folder = Path(given)
    jobs: dict[str, Callable[[Path], None]] = {
        "telco_churn.csv": lambda path: churn("Telco churn", path, "customerID", "Churn", [42]),
        "bank_churn_modelling.csv": lambda path: churn(
            "Bank churn", path, "CustomerId", "Exited", [1, 2, 3, 4, 5]
        ),
        "zh_hotel_reviews.csv": sentiment,
        "hillstrom_mens_arm.csv": uplift,
    }
    for name, job in jobs.items():
        if (folder / name).is_file():
            job(folder / name)
        else:
            print(f"{name} is not in {folder}: left out")


if __name__ == "__main__":
    main()
