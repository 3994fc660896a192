"""``customer360 score churn``: who stops buying, from any table of transactions."""

import time
from datetime import date, datetime
from pathlib import Path

import click
import numpy as np

from customer360.exceptions import ModelError
from customer360.scoring.churn import (
    ASSUMED_VERSION,
    UNCHECKED,
    fit_churn,
    fit_unchecked,
    score_with,
)
from customer360.scoring.mapping import TransactionMapping, load_mapping, read_table, write_scores
from customer360.scoring.output import report, write_card
from customer360.scoring.transactions import check_as_of, load_orders
from customer360.settings import load_settings
from customer360.warehouse import connect
from models.churn.card import unchecked_card
from models.churn.train import ASSUMED
from models.common.card import ModelCard


@click.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.option(
    "--mapping", "mapping_path", required=True, type=click.Path(path_type=Path), help="YAML file."
)
@click.option(
    "--as-of", required=True, type=click.DateTime(["%Y-%m-%d"]), help="Last day that is known."
)
@click.option("--horizon-days", default=28, show_default=True, type=click.IntRange(1, 730))
@click.option("--seed", default=42, show_default=True, type=click.IntRange(0))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="CSV or Parquet.")
@click.option("--json", "as_json", is_flag=True, help="Print figures as one JSON object.")
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
    table = read_table(source, load_mapping(mapping_path, TransactionMapping))
    with connect(load_settings()) as connection:
        load_orders(connection, table.frame)
        notes = [*table.notes, *check_as_of(connection, day)]
        figures: dict[str, object] = {}
        card: ModelCard
        try:
            fitted = fit_churn(connection, day, horizon_days, seed=seed)
        except ModelError as error:
            model = fit_unchecked(connection, day, horizon_days)
            version = ASSUMED_VERSION if model.btyd == ASSUMED.parameters else UNCHECKED
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
