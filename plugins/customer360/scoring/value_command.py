"""``customer360 score value``: what customers will buy, from any table of transactions."""

import time
from datetime import date, datetime
from pathlib import Path

import click

from customer360.scoring.mapping import write_scores
from customer360.scoring.options import AS_OF, horizon_option, score_command
from customer360.scoring.output import report, write_card
from customer360.scoring.transactions import orders_of
from customer360.scoring.value import fit_value, score_value
from models.value.card import value_card


@score_command("value", AS_OF, horizon_option(91))
def value(
    source: Path,
    mapping_path: Path,
    as_of: datetime,
    horizon_days: int,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Forecast orders and spend of each customer within the horizon.

    IN has one row an order or an order line (CSV or Parquet). Only rows until the as-of date are
    looked at. Buy till you die with gamma-gamma, gradient boosting, their blend and simple rules
    are fitted on earlier windows and one is chosen on a later one; a later one still is reported.
    OUT holds customer_id, expected_orders and expected_spend with 80 % intervals, and tier (top:
    the first tenth by expected spend, high: the next fifth, middle: the next two fifths, low). A
    card is written next to OUT.

    \b
    Example (mapping: "fields: {customer_id: household, at: time, amount: sales}"):
      customer360 score value tills.parquet --mapping tills.yml --as-of 2017-12-04 \\
          --horizon-days 28 --out value.parquet --json
    """
    began = time.monotonic()
    day: date = as_of.date()
    with orders_of(source, mapping_path, day) as (connection, notes):
        fitted = fit_value(connection, day, horizon_days, seed=seed)
        scores = score_value(connection, fitted)
    if fitted.why:
        notes.append(f"{fitted.why}: buy till you die forecasts, and nothing has checked it")
    for note in notes:
        click.echo(f"note: {note}", err=True)
    write_scores(scores, out)
    card = value_card(
        fitted.model,
        fitted.windows,
        fitted.season,
        fitted.report,
        fitted.coverage,
        fitted.why,
        {"as of": day, "customers": len(scores)},
        fitted.drawn,
    )
    figures: dict[str, object] = {
        "customers": len(scores),
        "as_of": day.isoformat(),
        "horizon_days": horizon_days,
        "chosen": fitted.model.chosen,
        "checked": fitted.report is not None,
        "expected_orders": float(scores["expected_orders"].sum()),
        "expected_spend": float(scores["expected_spend"].sum()),
        "tiers": scores["tier"].value_counts().to_dict(),
        "season_factor": fitted.season[day],
        "notes": notes,
        "seconds": round(time.monotonic() - began, 1),
        "out": str(out),
    }
    if fitted.report is not None and fitted.windows is not None:
        figures["report_window"] = {
            "origin": fitted.windows.report.isoformat(),
            "figures": fitted.report.to_dict("records"),
            "coverage_of_80_percent_interval": fitted.coverage,
        }
    report(card, write_card(card, out), figures, as_json)
