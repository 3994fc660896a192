"""Sentiment in the chain: from what customers wrote to an index, a trend and an alarm each.

What belongs here: reading texts from their view and writing scores. Texts are looked at and
forgotten: no table, log or report of ours holds one. What does not: the models
(``models.sentiment``), and what to do about an unhappy customer.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from customer360.registry import ModelVersion
from customer360.scoring.corpora import general_model
from customer360.scoring.features import relation_hash
from customer360.scoring.nightly import Challenger, Given, NightlyScore, Scored
from models.common.card import (
    CardTable,
    ModelCard,
    calibration_picture,
    drift_picture,
    gain_picture,
)
from models.common.metrics import binary_metrics, count_in, distribution, log_losses, stability
from models.sentiment.card import LIMITS, aspects_table
from models.sentiment.evaluate import sentiment_metrics
from models.sentiment.index import alarms_of, compare_sides, sentiment_index, trend
from models.sentiment.lexicon import ASPECTS
from models.sentiment.predict import Scorer, aspect_sentiment, predict
from models.sentiment.train import SentimentModel, check_labels, train

KNOWN_DAYS = 728
"""Older words weigh less than a thousandth of new ones."""
ENOUGH_RATED = 300
"""The company's own rated texts do from here on; the general model would say nothing new."""
WINDOW_DAYS, MIN_DROP, MIN_TEXTS = 60, 0.4, 1
GENERAL = "general"
BATCH_TEXTS = 100_000

CUSTOMERS = pa.schema(
    [
        ("customer_id", pa.string()),
        ("as_of", pa.date32()),
        ("sentiment_index", pa.float64()),
        ("trend", pa.string()),
        ("recent_sentiment", pa.float64()),
        ("earlier_sentiment", pa.float64()),
        ("is_drop_alarm", pa.bool_()),
        ("texts", pa.int32()),
        ("last_text_on", pa.date32()),
        *((f"{aspect}_sentiment", pa.float64()) for aspect in ASPECTS),
        ("worst_aspect", pa.string()),
        ("model_version", pa.string()),
    ]
)
SAID = pa.schema(
    [
        ("text_key", pa.string()),
        ("customer_id", pa.string()),
        ("kind", pa.string()),
        ("said_at", pa.timestamp("us")),
        ("sentiment", pa.float64()),
        *((f"{aspect}_sentiment", pa.float64()) for aspect in ASPECTS),
        ("model_version", pa.string()),
    ]
)


class Sentiment(NightlyScore):
    """How each customer feels about us, by what they wrote themselves."""

    name = "sentiment"
    folders = ("sentiment",)
    reads_texts = True

    def is_wanted(self, given: Given) -> bool:
        """Where nobody writes there is nothing to learn."""
        return bool(
            given.has(_texts(given))
            and given.connection.execute(f"select 1 from {_texts(given)} limit 1").fetchall()
        )

    def fit(self, given: Given) -> Challenger:
        """See ``NightlyScore.fit``: learned from rated texts, judged on the latest quarter."""
        rated = _rated(given)
        label = _labels(rated)
        check_labels(label)
        texts = rated["body"].tolist()
        cut = max(1, int(len(texts) * 0.75))
        check_labels(label[:cut])
        check_labels(label[cut:])
        general = general_model() if cut < ENOUGH_RATED else None
        model = train(texts[:cut], label[:cut], given.seed, general, ENOUGH_RATED)
        found = predict(model, texts[cut:])
        learned_until = str(rated["said_at"].iloc[cut - 1])
        truth = label[cut:]
        metrics = sentiment_metrics(truth, found)

        def losses_of(artefact: dict[str, Any]) -> np.ndarray | None:
            if artefact["learned_until"] > learned_until:
                return None
            return _losses(truth, predict(SentimentModel.from_artefact(artefact), texts[cut:]))

        return Challenger(
            artefact={
                **model.to_artefact(),
                "learned_until": learned_until,
                "reference": {"sentiment": distribution(predict(model, _recent(given)))},
            },
            data_hash=relation_hash(
                given.connection, f"select text_id, rating, body from {_texts(given)}", given.as_of
            ),
            metrics=metrics,
            thresholds={},
            losses=_losses(truth, found),
            losses_of=losses_of,
            window=f"the {len(truth):,} rated texts after {learned_until[:10]}",
            parameters={"enough": ENOUGH_RATED},
            card=lambda facts: _card(truth, found, aspect_sentiment(model, texts[cut:]), facts),
            summary={"rated": len(texts)},
        )

    def score(self, given: Given, artefact: dict[str, Any] | None, version: str) -> Scored:
        """See ``NightlyScore.score``; without rated texts a general model scores, and says so."""
        empty = Scored(
            {"sentiment": CUSTOMERS.empty_table(), "text_sentiment": SAID.empty_table()}, version
        )
        if not self.is_wanted(given):
            return empty
        alarms: tuple[str, ...] = ()
        model: Scorer
        if artefact is None:
            model, version = general_model(), GENERAL
            alarms = (
                "sentiment: too few rated texts to learn from: the general model of public shop "
                "reviews scores, and nothing has checked it",
            )
        else:
            model = SentimentModel.from_artefact(artefact)
        parts = [_heard(model, part) for part in _said(given)]
        if not parts:
            return empty
        said = pd.concat(parts, ignore_index=True)
        drift = {}
        if artefact is not None:
            since = pd.Timestamp(given.as_of) - pd.Timedelta(days=91)
            recent = said.loc[said["said_at"] > since, "sentiment"]
            reference = artefact["reference"]["sentiment"]
            if len(recent) >= 100:
                drift["sentiment"] = stability(reference, count_in(reference, recent))
        customers = _customers(said, given, version)
        said["model_version"] = version
        return Scored(
            {
                "sentiment": customers,
                "text_sentiment": pa.Table.from_pandas(said, SAID, preserve_index=False),
            },
            version,
            {
                "texts": len(said),
                "drop_alarms": int(np.sum(customers["is_drop_alarm"].to_numpy())),
            },
            drift,
            alarms,
        )

    def watch(self, given: Given, row: ModelVersion, artefact: dict[str, Any]) -> dict[str, Any]:
        """See ``NightlyScore.watch``: on the texts that were rated since it learned."""
        rated = _rated(given)
        later = rated[rated["said_at"].astype(str) > artefact["learned_until"]]
        label = _labels(later)
        if len(label) < 50 or label.min() == label.max():
            return {"alarms": []}
        found = predict(SentimentModel.from_artefact(artefact), later["body"].tolist())
        auc = sentiment_metrics(label, found)["auc"]
        then = row.metrics.get("auc") or 0.0
        alarms = []
        if auc < then - 0.05:
            alarms.append(
                f"{row.version} tells good from bad worse than when it was trained (AUC {auc:.3f}, "
                f"then {then:.3f}); train again"
            )
        return {"rated": len(label), "auc": round(auc, 4), "alarms": alarms}


def _rated(given: Given) -> pd.DataFrame:
    """Rated texts that are not lukewarm, oldest first; the middle of a scale of five is three."""
    return given.connection.execute(
        f"""
        select text_id, said_at, rating, 3.0 as middle, body from {_texts(given)}
        where rating is not null and rating <> 3 and trim(body) <> ''
        order by said_at, source, text_id
        """
    ).df()


def _texts(given: Given) -> str:
    """The view of what people wrote."""
    return f"{given.unify}.union_texts"


def _labels(rated: pd.DataFrame) -> NDArray[np.float64]:
    return np.where(rated["rating"] > rated["middle"], 1.0, 0.0)


def _recent(given: Given) -> list[str]:
    rows = given.connection.execute(
        f"select body from {_texts(given)} where said_at > ?::date - 91 order by text_id",
        [given.as_of],
    ).fetchall()
    return [body or "" for (body,) in rows]


def _said(given: Given) -> Iterator[pd.DataFrame]:
    """What was written in the last two years, with its customer where we know it, in batches."""
    reader = given.connection.execute(
        f"""
        select
            texts.text_id as text_key,
            customers.customer_id,
            texts.kind,
            texts.said_at::timestamp as said_at,
            coalesce(texts.body, '') as body
        from {_texts(given)} as texts
        left join {given.unify}.identify_customers as customers
            on texts.identifier_type = customers.identifier_type
            and texts.identifier_value = customers.identifier_value
        where texts.said_at > ?::date - {KNOWN_DAYS}
        order by text_key
        """,
        [given.as_of],
    ).to_arrow_reader(BATCH_TEXTS)
    for batch in reader:
        yield batch.to_pandas()


def _heard(model: Scorer, said: pd.DataFrame) -> pd.DataFrame:
    """What was written, with how it sounds in the place of its words; the same words once."""
    which, bodies = pd.factorize(said.pop("body"))
    texts = bodies.tolist()
    said["sentiment"] = np.round(predict(model, texts), 6)[which]
    aspects = aspect_sentiment(model, texts).round(6)
    for aspect in ASPECTS:
        said[f"{aspect}_sentiment"] = aspects[aspect].to_numpy()[which]
    return said


def _customers(said: pd.DataFrame, given: Given, version: str) -> pa.Table:
    known = said[said["customer_id"].notna()].rename(columns={"said_at": "at"})
    if known.empty:
        return CUSTOMERS.empty_table()
    as_of = pd.Timestamp(given.as_of) + pd.Timedelta(days=2)  # its last hour, in any zone
    found = sentiment_index(known, as_of).set_index("customer_id")
    sides = compare_sides(known, as_of, WINDOW_DAYS)
    found = found.assign(
        trend=trend(sides),
        recent_sentiment=sides.means["recent"],
        earlier_sentiment=sides.means["before"],
    )
    dropped = set(alarms_of(sides, MIN_DROP, MIN_TEXTS)["customer_id"])
    names = [f"{aspect}_sentiment" for aspect in ASPECTS]
    means = known.groupby("customer_id")[names].mean()
    found = found.join(means)
    worst = means.where(means < 0).dropna(how="all").idxmin(axis=1)
    worst = worst.map(lambda name: str(name).removesuffix("_sentiment"))
    found["worst_aspect"] = worst.reindex(found.index)
    found["is_drop_alarm"] = found.index.isin(dropped)
    found["last_text_on"] = found["last_at"].dt.date
    found["as_of"] = given.as_of
    found["model_version"] = version
    numbers = ["sentiment_index", "recent_sentiment", "earlier_sentiment", *names]
    found[numbers] = found[numbers].round(6)
    found["texts"] = found["texts"].astype(np.int32)
    return pa.Table.from_pandas(
        found.reset_index()[CUSTOMERS.names], CUSTOMERS, preserve_index=False
    )


def _losses(label: np.ndarray, sentiment: np.ndarray) -> np.ndarray:
    return log_losses(label, (np.clip(sentiment, -1.0, 1.0) + 1.0) / 2.0)


def _card(
    label: np.ndarray, sentiment: np.ndarray, aspects: pd.DataFrame, facts: dict[str, object]
) -> ModelCard:
    metrics = sentiment_metrics(label, sentiment)
    majority = max(label.mean(), 1 - label.mean())
    chance = (sentiment + 1.0) / 2.0
    table = pd.DataFrame(
        [
            {"who": "customer360", **metrics},
            {
                "who": "majority",
                "accuracy": majority,
                **binary_metrics(label, np.full(len(label), label.mean())),
            },
        ]
    )[["who", "accuracy", "auc", "pr_auc", "brier", "calibration_slope"]]
    return ModelCard(
        title="Customer sentiment, learned from what customers rated",
        summary=(
            f"Of later rated texts {metrics['accuracy']:.1%} get the right sign (saying the same "
            f"for all: {majority:.1%}), AUC {metrics['auc']:.3f}."
        ),
        facts={
            **facts,
            "later rated texts": len(label),
            "positive among them": f"{label.mean():.1%}",
        },
        tables=[CardTable("On later texts", table), aspects_table(aspects)],
        pictures=[
            calibration_picture(label, chance),
            gain_picture(1 - label, {"customer360": 1 - chance}, what="negative texts"),
            drift_picture(
                sentiment[label == 1], sentiment[label == 0],
                "Sentiment of later texts, by their rating",
                "separation", ("rated well", "rated badly"),
            ),
        ],
        limits=[
            *LIMITS,
            "Ratings are taken for the truth of the texts beside them; a kind word beside two "
            "stars counts as an error of the model.",
        ],
    )  # fmt: skip
