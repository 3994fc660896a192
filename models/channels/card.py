"""The card of a channel model."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from models.channels.evaluate import Evaluation
from models.channels.preference import SLOT_HOURS
from models.channels.train import ChannelModel
from models.common.card import (
    CardTable,
    ModelCard,
    bars_picture,
    calibration_picture,
    gain_picture,
)


def channels_card(
    model: ChannelModel, evaluation: Evaluation, facts: Mapping[str, object] | None = None
) -> ModelCard:
    """Card with figures on later touches, the rules beside them."""
    first, last = evaluation.table.iloc[0], evaluation.table.iloc[1]
    names = list(model.channels)
    rates = [prior.mean for prior in model.priors.channels]
    hours = [f"{slot * SLOT_HOURS:02d}-{(slot + 1) * SLOT_HOURS:02d} h"
             for slot in range(len(model.hour_shares))]  # fmt: skip
    noise = 1.96 * float(np.hypot(_error(first), _error(last)))
    difference = float(first["answered"] - last["answered"])
    word = "about as many as"
    if abs(difference) > noise:
        word = "more than" if difference > 0 else "fewer than"
    return ModelCard(
        title="Channel preference: where and when a customer answers",
        summary=(
            f"It ranks later touches by whether they are answered with AUC {first['auc']:.3f}; the "
            f"channel of the last answer {last['auc']:.3f}, one channel for all "
            f"{evaluation.table.iloc[2]['auc']:.3f}. Of touches that came by the channel it would "
            f"have chosen {first['answered']:.1%} were answered, {word} by the channel of the last "
            f"answer ({last['answered']:.1%}; chance alone moves this by {noise:.1%})."
        ),
        facts={
            **(facts or {}),
            "learned until": model.learned_until,
            "later touches": len(evaluation.label),
            "own answers that weigh as much as everyone's hours": f"{model.hour_strength:.1f}",
        },
        tables=[
            CardTable("On later touches", evaluation.table),
            CardTable(
                "What is known of each channel",
                pd.DataFrame(
                    {
                        "channel": names,
                        "answer_rate": rates,
                        "touches_that_weigh_as_much": [
                            prior.strength for prior in model.priors.channels
                        ],
                    }
                ),
                "A customer with fewer touches than the last column is closer to everyone's rate "
                "than to their own.",
            ),
        ],
        pictures=[
            calibration_picture(evaluation.label, evaluation.probabilities["used"]),
            gain_picture(
                evaluation.label,
                {"customer360" if name == "used" else name: score
                 for name, score in evaluation.probabilities.items()},
                what="answers",
            ),
            bars_picture(hours, list(model.hour_shares), "When people answer", "hours", "share"),
        ],
        limits=[
            "An answer is an opened or clicked message or a redeemed coupon; a call is answered "
            "only by what was bought after it.",
            "It says where people answer, not whether they may be contacted: that is consent.",
            "The hour is known of answers only; where touches are sent at one hour of the day, "
            "people who would answer at another hour may look as if they had none.",
        ],
    )  # fmt: skip


def _error(row: pd.Series) -> float:
    """Standard error of the share that was answered."""
    share, touches = float(row["answered"]), max(1, int(row["touches_by_its_channel"]))
    return float(np.sqrt(share * (1 - share) / touches))
