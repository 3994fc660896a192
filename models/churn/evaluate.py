"""How good a churn model is on the report window, beside the simple rules."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.churn.predict import predict
from models.churn.rules import NAMES
from models.churn.train import BOOSTING, ChurnModel, churned
from models.common.errors import ModelDataError
from models.common.metrics import binary_metrics, log_losses

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """Figures of one window.

    Attributes:
        metrics: of the probability that is used (boosting or rule, with the priors).
        table: a row for the boosting and for every rule, each calibrated on the same window.
        label, probabilities: to draw with; ``used`` is the probability that is used.
        losses: log loss a customer of ``used``, to compare champion and challenger.
    """

    metrics: dict[str, float]
    table: pd.DataFrame
    label: Floats
    probabilities: dict[str, Floats]
    losses: Floats

    @property
    def best_rule(self) -> str:
        """The simple rule with the best AUC on this window."""
        return max(
            (name for name in NAMES if name in self.auc_of), key=lambda name: self.auc_of[name]
        )

    @property
    def auc_of(self) -> dict[str, float]:
        """AUC of the boosting and of every rule."""
        names = self.table["score"].tolist()
        return dict(zip(names, self.table["auc"].tolist(), strict=True))


def evaluate(model: ChurnModel, frame: pd.DataFrame, threads: int = 1) -> Evaluation:
    """Evaluate on the rows of one window, all customers of it.

    Raises:
        ModelDataError: there are no rows.
    """
    if frame.empty:
        raise ModelDataError("the report window has no customers")
    label = churned(frame)
    used = predict(model, frame, threads)["churn_probability"].to_numpy()
    probabilities = {"used": used}
    rows = []
    for name in (BOOSTING, *(rule for rule in NAMES if rule in model.rule_lines)):
        chance = predict(model, frame, threads, use=name)["churn_probability"].to_numpy()
        probabilities[name] = chance
        figures = binary_metrics(label, chance)
        rows.append({"score": name, "used": name == model.chosen, **figures})
    table = pd.DataFrame(rows).drop(columns=["rows", "base_rate", "mean_probability"])
    return Evaluation(
        metrics=binary_metrics(label, used),
        table=table,
        label=label,
        probabilities=probabilities,
        losses=log_losses(label, used),
    )
