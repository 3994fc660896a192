"""Expected orders and spend on a warehouse or any table of orders.

What belongs here: from the table of orders to the value model and back. What does not: the model
(``models.value``), commands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import duckdb
import pandas as pd

from customer360.scoring.features import MAX_TRAINING_ROWS, read_features, training_rows
from customer360.scoring.output import models_may_refuse
from models.common.errors import ModelDataError
from models.common.windows import Windows, rows_of
from models.value.evaluate import compare
from models.value.predict import predict
from models.value.season import season_factors
from models.value.train import ValueModel, forecasts, train, without_history


@dataclass(frozen=True)
class FittedValue:
    """A value model as of a date.

    Attributes:
        windows: None where the history was too short to learn from; ``why`` says so.
        season: factor of each origin and of the as-of date.
        report: figures of every candidate on the report window, None without windows.
        coverage: share of customers within the 80 % interval on the report window, by target.
    """

    model: ValueModel
    as_of: date
    windows: Windows | None
    season: Mapping[date, float]
    report: pd.DataFrame | None = None
    coverage: Mapping[str, float] | None = None
    why: str = ""


def fit_value(
    connection: duckdb.DuckDBPyConnection,
    as_of: date,
    horizon_days: int,
    orders: str = "orders",
    seed: int = 42,
    threads: int = 1,
    max_rows: int = MAX_TRAINING_ROWS,
) -> FittedValue:
    """Fit, choose and evaluate on windows before ``as_of``; nothing after it is looked at.

    Raises:
        ModelError: too few customers, or nobody has bought twice.
    """
    with models_may_refuse():
        try:
            rows = training_rows(connection, as_of, horizon_days, orders, max_rows)
        except ModelDataError as error:
            frame = read_features(connection, [as_of], horizon_days, orders).to_pandas()
            model = without_history(frame, horizon_days, seed)
            return FittedValue(model, as_of, None, {as_of: 1.0}, why=str(error))
        frame, windows = rows.frame, rows.windows
        daily = connection.execute(
            f"select ordered_on, count(*) from {orders} where ordered_on <= ? group by 1", [as_of]
        ).fetchall()
        season = season_factors(pd.Series(dict(daily)), [*windows.origins, as_of], horizon_days)
        frame["as_of"] = pd.to_datetime(frame["as_of"]).dt.date
        model = train(frame, windows, season, seed, threads)
        report_rows = rows_of(frame, windows.report)
        factor = season[windows.report]
        report = compare(report_rows, forecasts(model, report_rows, threads), factor)
        found = predict(model, report_rows, factor, threads)
    coverage = {}
    for target, column, unit in (
        ("orders", "future_orders", 1),
        ("spend", "future_spend_cents", 100),
    ):
        came = report_rows[column] / unit
        inside = (came >= found[f"expected_{target}_low"] - 1e-9) & (
            came <= found[f"expected_{target}_high"] + 1e-9
        )
        coverage[target] = float(inside.mean())
    return FittedValue(model, as_of, windows, season, report, coverage)


def score_value(
    connection: duckdb.DuckDBPyConnection, fitted: FittedValue, orders: str = "orders"
) -> pd.DataFrame:
    """Forecasts of every customer as of the date of the fit, sorted by customer."""
    frame = read_features(connection, [fitted.as_of], fitted.model.horizon_days, orders).to_pandas()
    scores = predict(fitted.model, frame, fitted.season[fitted.as_of])
    scores.insert(0, "customer_id", frame["customer_id"])
    return scores.round(6)
