"""``customer360 score churn-labelled``: out-of-fold churn probabilities of a labelled table."""

from pathlib import Path

import click
import pandas as pd

from customer360.scoring.mapping import (
    LabelledMapping,
    fixed_order,
    load_mapping,
    read_flag,
    read_table,
    write_scores,
)
from customer360.scoring.options import folds_option, score_command
from customer360.scoring.output import models_may_refuse, report, write_card
from models.common.metrics import binary_metrics
from models.contractual.card import make_card
from models.contractual.evaluate import cross_validate, metrics_table
from models.contractual.reasons import contributions, reasons_in_words
from models.contractual.train import train


@score_command("churn-labelled", folds_option())
def churn_labelled(
    source: Path, mapping_path: Path, folds: int, seed: int, out: Path, as_json: bool
) -> None:
    """Score a labelled customer table: who leaves, and why.

    IN has one row a customer (CSV or Parquet); columns that the mapping does not name are
    features. OUT holds customer_id, churn_probability (calibrated; no customer is scored by a
    model that has seen its label) and reason_1..3. Rows without a label are scored by a model
    of all labelled rows. A card with figures beside naive rules is written next to OUT.

    \b
    Example (mapping: "fields: {customer_id: customerID, label: Churn}"):
      customer360 score churn-labelled telco.csv --mapping telco.yml --folds 5 --seed 42 \\
          --out telco-churn.csv --json
    """
    mapping = load_mapping(mapping_path, LabelledMapping)
    table = read_table(source, mapping)
    frame = table.frame.iloc[fixed_order(table.frame, mapping)]
    label = read_flag(frame["label"], mapping.fields.label, mapping.label_value, "label_value")
    known = label.notna().to_numpy()
    features = frame[table.features]
    click.echo(f"{known.sum():,} labelled rows, {len(table.features)} features", err=True)
    with models_may_refuse():
        truth = label[known].to_numpy()
        evaluation = cross_validate(features[known], truth, folds, seed)
        card = make_card(truth, evaluation, folds, seed)
        scores = pd.DataFrame(
            {"churn_probability": evaluation.probability}, index=features.index[known]
        ).join(evaluation.reasons)
        if not known.all():
            click.echo(f"{(~known).sum():,} rows without a label: scored by all others", err=True)
            model = train(features[known], truth, seed)
            rest = features[~known]
            added = contributions(model, model.encoder.readable(rest))
            unlabelled = reasons_in_words(model, rest, added)
            unlabelled.insert(0, "churn_probability", model.predict(rest))
            scores = pd.concat([scores, unlabelled])
    for name, why in evaluation.leaks.items():
        click.echo(f"warning: {name} may know the answer: {why}", err=True)
    for note in [*table.notes, *evaluation.notes]:
        click.echo(f"note: {note}", err=True)
    write_scores(table.frame[["customer_id"]].join(scores), out)
    figures: dict[str, object] = {
        **binary_metrics(truth, evaluation.probability),
        "folds": folds,
        "seed": seed,
        "unlabelled": int((~known).sum()),
        "naive": metrics_table(truth, evaluation).iloc[1:].to_dict("records"),
        "suspected_leaks": evaluation.leaks,
        "notes": [*table.notes, *evaluation.notes],
        "out": str(out),
    }
    report(card, write_card(card, out), figures, as_json)
