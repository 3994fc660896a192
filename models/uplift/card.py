"""The card of an uplift model."""

import io

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.common.card import CardTable, ModelCard, Picture
from models.uplift.evaluate import REPLICATES, Evaluation, qini_curve

Floats = NDArray[np.float64]


def make_card(
    treatment: Floats, outcome: Floats, evaluation: Evaluation, folds: int, seed: int
) -> ModelCard:
    """The verdict first, then the figures that carry it."""
    dropped = CardTable(
        "Columns left out as measured after the campaign",
        pd.DataFrame(list(evaluation.dropped.items()), columns=["column", "why"]),
    )
    scaled = evaluation.figures.copy()
    scaled[["qini", "qini_low", "qini_high"]] *= 1e4
    return ModelCard(
        title="Uplift of a campaign",
        summary=evaluation.verdict,
        facts={
            "treated": int(treatment.sum()),
            "not treated": int((1 - treatment).sum()),
            "average effect": f"{evaluation.effect:.4f} "
            f"({evaluation.effect_low:.4f} to {evaluation.effect_high:.4f})",
            "effect brought by the top half": (
                f"{evaluation.top_half:.1%}"
                if np.isfinite(evaluation.top_half)
                else "cannot be told: there may be no effect"
            ),
            "evaluation": f"{folds} folds, seed {seed}, out of fold; {REPLICATES} resamples",
        },
        tables=[
            CardTable(
                "Qini (times 10,000)",
                scaled.round(1),
                "Area between the ranking's curve and treating at random, with 95 % intervals; "
                "zero is worth nothing. `uplift` is the shared model; the response model is the "
                "naive rule that sends to likely buyers.",
            ),
            *([dropped] if evaluation.dropped else []),
        ],
        pictures=[_curves(treatment, outcome, evaluation)],
        limits=[
            "It holds for this campaign and offer; another offer needs its own random arm.",
            "The interval is over customers; it does not contain that learners vary.",
            *evaluation.notes,
        ],
    )


def _curves(treatment: Floats, outcome: Floats, evaluation: Evaluation) -> Picture:
    figure = Figure(figsize=(5.2, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, score in evaluation.scores.items():
        share, gain = qini_curve(score, treatment, outcome)
        axes.plot(share, gain, label=name, linewidth=2.2 if name == "uplift" else 1.0)
    axes.plot([0, 1], [0, gain[-1]], color="#9a9a9a", linestyle="--", label="at random")
    axes.set_title("What is gained by treating the top share?", fontsize=11)
    axes.set_xlabel("share of customers treated, highest uplift first")
    axes.set_ylabel("additional outcome per customer")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return Picture("qini", "Qini curve: gain by share treated.", buffer.getvalue())
