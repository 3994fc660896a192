"""``customer360 score churn``: who stops buying, from any table of transactions."""

import time
from datetime import date, datetime
from pathlib import Path

import click
import numpy as np

from customer360.exceptions import ModelError
from customer360.scoring.churn import fit_churn, fit_unchecked, score_with
from customer360.scoring.mapping import write_scores
from customer360.scoring.options import AS_OF, horizon_option, score_command
from customer360.scoring.output import report, write_card
from customer360.scoring.transactions import orders_of
from models.churn.card import unchecked_card
from models.common.card import ModelCard


@score_command("churn", AS_OF, horizon_option(28))
def churn(
    source: Path,
    mapping_path: Path,
    as_of: datetime,
    horizon_days: int,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Score customers without a contract: who buys nothing within the horizon, and why.

    IN has one row an order or an order line (CSV or Parquet). Only rows until the as-of date are
    looked at; the model learns on earlier windows of the same data, is calibrated on a later one
    and reported on a later one still, beside simple rules. With too little history a
    buy-till-you-die model scores, and the card says that nothing has checked it. OUT holds
    customer_id, churn_probability and reason_1..3. A card is written next to OUT.

    \b
    Example (mapping: "fields: {customer_id: household, at: time, amount: sales}"):
      customer360 score churn tills.parquet --mapping tills.yml --as-of 2017-12-04 \\
          --horizon-days 28 --out churn.parquet --json
    """
    began = time.monotonic()
    day: date = as_of.date()
    with orders_of(source, mapping_path, day) as (connection, notes):
        figures: dict[str, object] = {}
        card: ModelCard
        try:
            fitted = fit_churn(connection, day, horizon_days, seed=seed)
        except ModelError as error:
            model, version = fit_unchecked(connection, day, horizon_days)
            notes.append(f"{error}: {version} scores, and nothing has checked it")
            card = unchecked_card(model, str(error), {"as of": day})
        else:
            model, version, card = fitted.model, "fitted here", fitted.card()
            figures = {
                "report_window": {
                    "origin": fitted.windows.report.isoformat(),
                    **fitted.evaluation.metrics,
                },
                "auc_by_score": fitted.evaluation.auc_of,
                "best_rule": fitted.evaluation.best_rule,
            }
        scores = score_with(connection, model, day, version)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    write_scores(scores.table.to_pandas(), out)
    chance = scores.table["churn_probability"].to_numpy()
    figures = {
        "customers": len(scores.table),
        "as_of": day.isoformat(),
        "horizon_days": horizon_days,
        "chosen": model.chosen,
        "checked": bool(figures),
        "mean_probability": float(np.mean(chance)),
        **figures,
        "priors": scores.summary["priors"],
        "notes": notes,
        "seconds": round(time.monotonic() - began, 1),
        "out": str(out),
    }
    report(card, write_card(card, out), figures, as_json)
