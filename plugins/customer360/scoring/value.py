"""Expected orders and spend on a warehouse or any table of orders.

What belongs here: from the table of orders to the value model and back. What does not: the model
(``models.value``), commands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from customer360.exceptions import ModelError
from customer360.registry import ModelVersion
from customer360.scoring.features import (
    MAX_TRAINING_ROWS,
    feature_batches,
    read_features,
    training_rows,
    what_came,
)
from customer360.scoring.nightly import Challenger, Given, NightlyScore, Scored, fill
from customer360.scoring.output import models_may_refuse
from models.common.errors import ModelDataError
from models.common.metrics import count_in, stability
from models.common.windows import Windows, rows_of
from models.value.card import Drawn, value_card
from models.value.evaluate import compare
from models.value.predict import predict, tiers
from models.value.season import season_factors
from models.value.train import (
    FORECAST,
    WATCHED,
    ValueModel,
    assumed,
    forecasts,
    losses,
    train,
    without_history,
)

UNCHECKED = "buy-till-you-die"
ASSUMED_VERSION = "prior"


@dataclass(frozen=True)
class FittedValue:
    """A value model as of a date.

    Attributes:
        windows: None where there was too little to learn from; ``why`` says so.
        season: factor of each origin and of the as-of date.
        report: figures of every candidate on the report window, None without windows.
        coverage: share of customers within the 80 % interval on the report window, by target.
        choice: the rows that a champion is compared on.
        facts: about the data.
        drawn: the report window, for the pictures.
    """

    model: ValueModel
    as_of: date
    windows: Windows | None
    season: Mapping[date, float]
    report: pd.DataFrame | None = None
    coverage: Mapping[str, float] | None = None
    why: str = ""
    choice: pd.DataFrame | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    drawn: Drawn | None = None


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

    Where there is too little to learn from, the model is ``fit_unchecked`` and ``why`` says so.

    Raises:
        ModelError: there are no orders at all.
    """
    with models_may_refuse():
        try:
            rows = training_rows(connection, as_of, horizon_days, orders, max_rows)
            frame, windows = rows.frame, rows.windows
            season = season_factors(
                _daily(connection, as_of, orders), [*windows.origins, as_of], horizon_days
            )
            frame["as_of"] = pd.to_datetime(frame["as_of"]).dt.date
            model = train(frame, windows, season, seed, threads)
        except ModelDataError as error:
            model, version = fit_unchecked(connection, as_of, horizon_days, orders, seed)
            why = str(error)
            if version == ASSUMED_VERSION:
                why += "; nor can buy till you die be fitted: its pace is assumed"
            return FittedValue(model, as_of, None, {as_of: 1.0}, why=why)
        report_rows = rows_of(frame, windows.report)
        factor = season[windows.report]
        made = forecasts(model, report_rows, threads)
        report = compare(report_rows, made, factor)
        drawn = Drawn(
            {name: values * factor for name, values in made["orders"].items()},
            report_rows["future_orders"].to_numpy(dtype=np.float64),
            made["spend"][model.chosen["spend"]] * factor,
            np.maximum(report_rows["future_spend_cents"].to_numpy(dtype=np.float64), 0.0),
        )
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
    facts = {
        "as of": as_of,
        "orders": rows.content.rows,
        "customers": rows.content.customers,
        "data hash": rows.content.hash,
    }
    choice = rows_of(frame, windows.choice)
    return FittedValue(model, as_of, windows, season, report, coverage, "", choice, facts, drawn)


def fit_unchecked(
    connection: duckdb.DuckDBPyConnection,
    as_of: date,
    horizon_days: int,
    orders: str = "orders",
    seed: int = 42,
) -> tuple[ValueModel, str]:
    """Buy till you die as of a date, for what is too little to learn from; it never refuses.

    Returns:
        The model and its version: ``UNCHECKED``, or ``ASSUMED_VERSION`` where nothing was learned.
    """
    frame = read_features(connection, [as_of], horizon_days, orders).to_pandas()
    try:
        return without_history(frame, horizon_days, seed), UNCHECKED
    except ModelDataError:
        return assumed(frame, horizon_days), ASSUMED_VERSION


def score_value(
    connection: duckdb.DuckDBPyConnection, fitted: FittedValue, orders: str = "orders"
) -> pd.DataFrame:
    """Forecasts of every customer as of the date of the fit, sorted by customer."""
    frame = read_features(connection, [fitted.as_of], fitted.model.horizon_days, orders).to_pandas()
    scores = predict(fitted.model, frame, fitted.season[fitted.as_of])
    scores.insert(0, "customer_id", frame["customer_id"])
    return scores.round(6)


def _daily(connection: duckdb.DuckDBPyConnection, as_of: date, orders: str) -> pd.Series:
    """Orders of the company by day."""
    rows = connection.execute(
        f"select ordered_on, count(*) from {orders} where ordered_on <= ? group by 1 order by 1",
        [as_of],
    ).fetchall()
    return pd.Series(dict(rows), dtype=float)


SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("as_of", pa.date32()),
        ("horizon_days", pa.int32()),
        ("expected_orders", pa.float64()),
        ("expected_orders_low", pa.float64()),
        ("expected_orders_high", pa.float64()),
        ("expected_spend_cents", pa.int64()),
        ("expected_spend_low_cents", pa.int64()),
        ("expected_spend_high_cents", pa.int64()),
        ("expected_tier", pa.string()),
        ("model_version", pa.string()),
    ]
)


class Value(NightlyScore):
    """Expected orders and spend within the horizon, of everyone who has bought."""

    name = "value"
    looks_ahead = True
    folders = ("value",)

    def fit(self, given: Given) -> Challenger:
        """See ``NightlyScore.fit``."""
        fitted = fit_value(
            given.connection, given.as_of, given.horizon_days, given.orders, given.seed,
            given.threads,
        )  # fmt: skip
        if fitted.windows is None or fitted.report is None or fitted.choice is None:
            raise ModelError(fitted.why)
        model, choice, report, season = fitted.model, fitted.choice, fitted.report, fitted.season
        windows = fitted.windows
        factor = season[windows.choice]

        def losses_of(artefact: dict[str, Any]) -> np.ndarray | None:
            champion = ValueModel.from_artefact(artefact)
            if date.fromisoformat(champion.learned_until) > windows.choice:
                return None
            return losses(_used(champion, choice, factor, freshly=False), choice)

        def card(facts: dict[str, object]) -> Any:
            return value_card(
                model,
                fitted.windows,
                season,
                report,
                fitted.coverage,
                "",
                {**fitted.facts, **facts},
                fitted.drawn,
            )

        used = {
            target: report[(report["target"] == target) & (report["forecast"] == name)].iloc[0]
            for target, name in model.chosen.items()
        }
        return Challenger(
            artefact=model.to_artefact(),
            data_hash=str(fitted.facts["data hash"]),
            metrics={
                f"{target}_{figure}": float(row[figure])
                for target, row in used.items()
                for figure in ("auc", "top_tenth", "error", "total")
            }
            | {f"{target}_coverage": share for target, share in (fitted.coverage or {}).items()},
            thresholds={},
            # Neither may know the level of the very window that they are compared on.
            losses=losses(_used(model, choice, factor, freshly=False), choice),
            losses_of=losses_of,
            window=f"the {len(choice):,} customers of {fitted.windows.choice}",
            parameters={"horizon_days": given.horizon_days, "max_rows": MAX_TRAINING_ROWS},
            card=card,
            summary={"chosen": model.chosen},
        )

    def score(self, given: Given, artefact: dict[str, Any] | None, version: str) -> Scored:
        """See ``NightlyScore.score``; without a champion buy till you die forecasts, unchecked."""
        alarms: tuple[str, ...] = ()
        if artefact is None:
            model, version = fit_unchecked(
                given.connection, given.as_of, given.horizon_days, given.orders
            )
            alarms = (
                f"value: no model was trained by {given.as_of}: {version} forecasts, and nothing "
                "has checked it",
            )
        else:
            model = ValueModel.from_artefact(artefact)
        factor = 1.0
        if model.knows_season:
            daily = _daily(given.connection, given.as_of, given.orders)
            factor = season_factors(daily, [given.as_of], given.horizon_days)[given.as_of]
        counts = {name: np.zeros(len(one["counts"])) for name, one in model.reference.items()}
        batches = []
        for frame in feature_batches(
            given.connection, given.as_of, given.horizon_days, given.orders, made=given.features
        ):
            found = predict(model, frame, factor, given.threads)
            for name in WATCHED:
                if name in counts:
                    counts[name] += count_in(model.reference[name], frame[name].to_numpy(float))
            if FORECAST in counts:
                counts[FORECAST] += count_in(
                    model.reference[FORECAST], found["expected_orders"] / factor
                )
            batches.append(_batch(frame, found, version, given))
        table = pa.Table.from_batches(batches, SCHEMA)
        # Tiers are ranks among all, not within a batch.
        if len(table):
            column = pa.array(tiers(table["expected_spend_cents"].to_numpy().astype(float)))
            place = SCHEMA.get_field_index("expected_tier")
            table = table.set_column(place, SCHEMA.field(place), column)
        return Scored(
            {"value": table},
            version,
            {
                "expected_orders": float(np.sum(table["expected_orders"].to_numpy())),
                "season_factor": factor,
            },
            {name: stability(model.reference[name], counts[name]) for name in counts}
            if len(table)
            else {},
            alarms,
        )

    def watch(self, given: Given, row: ModelVersion, artefact: dict[str, Any]) -> dict[str, Any]:
        """See ``NightlyScore.watch``: the total of the last horizon against what came."""
        model = ValueModel.from_artefact(artefact)
        origin = given.as_of - timedelta(days=given.horizon_days)
        if date.fromisoformat(model.learned_until) > origin:
            return {"alarms": []}
        frame = what_came(given.connection, origin, given.horizon_days, given.orders)
        came = float(frame["future_orders"].sum()) if len(frame) else 0.0
        if not came:
            return {"alarms": []}
        factor = 1.0
        if model.knows_season:
            daily = _daily(given.connection, origin, given.orders)
            factor = season_factors(daily, [origin], given.horizon_days)[origin]
        total = float(_used(model, frame, factor)["orders"].sum()) / came
        alarms = []
        if abs(total - 1.0) > WATCH_TOTAL:
            alarms.append(
                f"{row.version} forecast {total:.0%} of the orders that came in the "
                f"{given.horizon_days} days after {origin}; train again"
            )
        return {"origin": origin.isoformat(), "total": round(total, 4), "alarms": alarms}


WATCH_TOTAL = 0.25


def _used(
    model: ValueModel, frame: pd.DataFrame, factor: float, *, freshly: bool = True
) -> dict[str, np.ndarray]:
    made = forecasts(model, frame, only_used=True, freshly=freshly)
    return {target: made[target][name] * factor for target, name in model.chosen.items()}


def _batch(frame: pd.DataFrame, found: pd.DataFrame, version: str, given: Given) -> pa.RecordBatch:
    rows = len(frame)
    return fill(
        [
            ("customer_id", frame["customer_id"].astype(str)),
            ("as_of", [given.as_of] * rows),
            ("horizon_days", np.full(rows, given.horizon_days, dtype=np.int32)),
            # Six decimals: sums of threads may differ in the last bits.
            *(
                (name, found[name].round(6))
                for name in ("expected_orders", "expected_orders_low", "expected_orders_high")
            ),
            *(
                (f"{name}_cents", np.rint(found[source] * 100).astype(np.int64))
                for name, source in (
                    ("expected_spend", "expected_spend"),
                    ("expected_spend_low", "expected_spend_low"),
                    ("expected_spend_high", "expected_spend_high"),
                )
            ),
            ("expected_tier", [""] * rows),
            ("model_version", [version] * rows),
        ],
        SCHEMA,
    )
