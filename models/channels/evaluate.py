"""How good a channel model is on later touches, beside the rules that it has to beat."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.channels.preference import last_channel
from models.channels.train import ChannelModel, count, response_probability, touch_probability
from models.common.errors import ModelDataError
from models.common.metrics import binary_metrics, log_losses, ranking_metrics

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """Figures on later touches.

    Attributes:
        metrics: of the probabilities, and ``answered_in_best_channel``.
        table: a row for the model and for each rule: how it ranks touches, and how often people
            answered where the touch happened to come by the channel that it would have chosen.
        label, probabilities: to draw with; the model's is ``used``.
    """

    metrics: dict[str, float]
    table: pd.DataFrame
    label: Floats
    probabilities: dict[str, Floats]
    losses: Floats


def evaluate(model: ChannelModel, before: pd.DataFrame, later: pd.DataFrame) -> Evaluation:
    """Evaluate on touches that the model has not learned from.

    Which channel a touch takes is the campaign's matter, not the customer's: so the touches that
    came by the channel of a rule show what following the rule would have brought.

    Raises:
        ModelDataError: there are no later touches.
    """
    if later.empty:
        raise ModelDataError("there are no later touches to evaluate on")
    label = later["responded"].to_numpy(dtype=np.float64)
    chance = touch_probability(model, before, later)
    customers = pd.Index(later["customer_id"].unique())
    counts = count(before, model.channels, customers)
    names = np.array(model.channels, dtype=object)
    made = response_probability(model, counts)
    best = pd.Series(names[made.argmax(axis=1)], index=customers)
    rates = np.array([prior.mean for prior in model.priors.channels])
    overall = pd.Series(names[int(rates.argmax())], index=customers)
    last = last_channel(before.rename(columns={"sent_on": "at"})).reindex(customers)
    channel = later["channel"].to_numpy(dtype=object)
    person = later["customer_id"]
    place = pd.Index(model.channels).get_indexer(pd.Index(later["channel"]))
    of_channel = np.where(place >= 0, rates[np.maximum(place, 0)], model.priors.person.mean)
    is_last = (person.map(last).to_numpy(dtype=object) == channel).astype(np.float64)
    rules = {
        "customer360": (chance, best),
        "last channel": (is_last, last.fillna(overall)),
        "best channel for all": (of_channel, overall),
    }
    rows = []
    for name, (score, choice) in rules.items():
        follows = person.map(choice).to_numpy(dtype=object) == channel
        rows.append(
            {
                "rule": name,
                **ranking_metrics(label, score),
                "touches_by_its_channel": int(follows.sum()),
                "answered": float(label[follows].mean()) if follows.any() else float("nan"),
            }
        )
    table = pd.DataFrame(rows)
    metrics = binary_metrics(label, chance)
    metrics["answered_in_best_channel"] = float(table["answered"].to_numpy()[0])
    metrics["answered_in_last_channel"] = float(table["answered"].to_numpy()[1])
    return Evaluation(
        metrics,
        table,
        label,
        {"used": chance, "last channel": is_last, "best channel for all": of_channel},
        log_losses(label, chance),
    )
