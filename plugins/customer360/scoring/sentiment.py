"""``customer360 score sentiment``: how people feel, from Chinese and English texts."""

from pathlib import Path

import click
import numpy as np
import pandas as pd

from customer360.exceptions import SourceError
from customer360.scoring.corpora import corpus, general_model
from customer360.scoring.mapping import (
    TextMapping,
    fixed_order,
    load_mapping,
    read_flag,
    read_table,
    write_scores,
)
from customer360.scoring.options import folds_option, score_command
from customer360.scoring.output import models_may_refuse, report, write_card
from models.common.tabular import as_numbers
from models.sentiment.card import labelled_card, unlabelled_card
from models.sentiment.evaluate import cross_validate, sentiment_metrics
from models.sentiment.features import shingles
from models.sentiment.predict import aspect_sentiment, predict
from models.sentiment.train import (
    ENOUGH_RATED,
    GeneralModel,
    fit_corpus,
    train,
    without_overlap,
)

_WORDS = {"positive": 1.0, "pos": 1.0, "好评": 1.0, "negative": 0.0, "neg": 0.0, "差评": 0.0}


@score_command("sentiment", folds_option("With labels only."))
def sentiment(
    source: Path, mapping_path: Path, out: Path, folds: int, seed: int, as_json: bool
) -> None:
    """Score texts from -1 (negative) to 1 (positive), and by aspect.

    IN has one row a text (CSV or Parquet). Without labels a general model scores: Chinese from
    rated shop reviews, English from VADER's rules. With labels (1/0, positive/negative, or
    stars) the company's own words are learned, and each rated text is scored by a model that
    has not seen its rating. OUT holds id, sentiment, and delivery, quality, price, service
    (empty where not mentioned). Nothing is downloaded.

    \b
    Example (mapping: "fields: {text: review, label: stars}"):
      customer360 score sentiment reviews.csv --mapping reviews.yml --out sentiment.csv \\
          --folds 5 --json
    """
    mapping = load_mapping(mapping_path, TextMapping)
    table = read_table(source, mapping)
    frame = table.frame.iloc[fixed_order(table.frame, mapping)]
    texts = frame["text"].astype("string").fillna("").tolist()
    empty = np.array([not text.strip() for text in texts], dtype=bool)
    notes = list(table.notes)
    if empty.all():
        raise SourceError(f"every text of `{mapping.fields.text}` is empty; check the mapping")
    if empty.any():
        notes.append(f"{int(empty.sum())} empty texts are scored 0")
    figures: dict[str, object]
    if "label" in frame:
        label = read_rating(frame["label"], mapping)
        rated = np.isfinite(label) & ~empty
        own = [text for text, is_rated in zip(texts, rated, strict=True) if is_rated]
        click.echo(f"{len(texts):,} texts, {len(own):,} rated", err=True)
        with models_may_refuse():
            general = _general_without(own) if len(own) < ENOUGH_RATED else None
            evaluation = cross_validate(own, label[rated], folds, seed, general)
            card = labelled_card(label[rated], evaluation, folds, seed, ENOUGH_RATED)
            scores = np.zeros(len(texts))
            scores[rated] = evaluation.sentiment
            aspects = evaluation.aspects.set_index(np.flatnonzero(rated))
            rest = np.flatnonzero(~rated)
            if len(rest):
                model = train(own, label[rated], seed, general)
                unrated = [texts[int(row)] for row in rest]
                scores[rest] = predict(model, unrated)
                aspects = pd.concat([aspects, aspect_sentiment(model, unrated).set_index(rest)])
        aspects = aspects.sort_index()
        figures = {**sentiment_metrics(label[rated], evaluation.sentiment), "folds": folds}
    else:
        click.echo(f"{len(texts):,} texts, none rated: the general model scores", err=True)
        unlabelled = general_model()
        known = known_share(texts)
        if known > 0.01:
            notes.append(
                f"WARNING: {known:.0%} of these texts stand (in part) in the public reviews that "
                "the general model has learned from: any figure of it on them flatters it"
            )
        scores = predict(unlabelled, texts)
        aspects = aspect_sentiment(unlabelled, texts)
        card = unlabelled_card(scores, aspects, int(empty.sum()))
        figures = {
            "rows": len(texts),
            "mean_sentiment": float(scores.mean()),
            "share_in_the_general_corpus": known,
        }
    for note in notes:
        click.echo(f"note: {note}", err=True)
    result = pd.DataFrame({"id": frame["id"], "sentiment": scores})
    write_scores(result.join(aspects.set_index(result.index)).sort_index(), out)
    figures |= {"empty": int(empty.sum()), "notes": notes, "out": str(out)}
    report(card, write_card(card, out), figures, as_json)


def read_rating(values: pd.Series, mapping: TextMapping) -> np.ndarray:
    """Ratings as 1, 0, or NaN: flags and words as they are; of stars the middle is left out.

    Raises:
        SourceError: ratings that are neither, or a ``label_value`` that does not occur.
    """
    words = values.astype("string").str.strip().str.casefold()
    blank = (words.isna() | (words == "")).to_numpy()
    if mapping.label_value is None:
        if words[~blank].isin(_WORDS).all():
            return words.map(_WORDS).to_numpy(dtype=np.float64, na_value=np.nan)
        stars = as_numbers(values)
        known = stars[~blank]
        if np.isfinite(known).all() and np.unique(known).size > 2:
            middle = (known.min() + known.max()) / 2.0
            return np.where(stars == middle, np.nan, np.where(blank, np.nan, stars > middle))
    flags = read_flag(values, str(mapping.fields.label), mapping.label_value, "label_value")
    return flags.to_numpy()


def known_share(texts: list[str], sample: int = 1000) -> float:
    """Share of texts of which a quarter or more stands in what the general model learned from.

    Compared by runs of eight characters, on every n-th text of 20 characters or more: short ones
    meet by chance.
    """
    long = [text for text in texts if len(text) >= 20]
    looked_at = long[:: max(1, len(long) // sample)]
    if not looked_at:
        return 0.0
    runs = [shingles(text) for text in looked_at]
    wanted = set().union(*runs)
    positive, negative = corpus()
    met: set[int] = set()
    for line in (*positive, *negative):
        met |= wanted & shingles(line)
    return sum(len(run & met) >= 0.25 * len(run) for run in runs) / len(runs)


def _general_without(texts: list[str]) -> GeneralModel:
    """The general model from a corpus that holds none of these texts, or it would know them."""
    positive, negative = corpus()
    kept = [without_overlap(part, texts) for part in (positive, negative)]
    if sum(map(len, kept)) == len(positive) + len(negative):
        return general_model()
    return GeneralModel(fit_corpus(*kept))
