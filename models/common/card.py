"""The model card: what a person reads before trusting a score.

A card is data (``ModelCard``); ``render`` makes Markdown and pictures of it, as text and bytes.
Where they are written is the caller's matter.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from models.common.metrics import calibration_bins, gain_curve

_BLUE, _GREY, _RED = "#2f6f9f", "#9a9a9a", "#b5493a"


@dataclass(frozen=True)
class Picture:
    """A PNG picture with what it shows in words, for those who cannot see it."""

    name: str
    caption: str
    png: bytes


@dataclass(frozen=True)
class CardTable:
    """A table of the card: a heading, a sentence, and the frame."""

    heading: str
    frame: pd.DataFrame
    sentence: str = ""


@dataclass(frozen=True)
class ModelCard:
    """Everything a reader needs to judge a model.

    Attributes:
        title: which model, for which question.
        summary: two or three plain sentences; the verdict stands first.
        facts: name -> value: data, windows, versions.
        tables: figures; a model's row stands beside the naive rules' rows.
        pictures: calibration, gain, drift.
        limits: what it must not be used for, and what it does not know.
    """

    title: str
    summary: str
    facts: Mapping[str, object] = field(default_factory=dict)
    tables: Sequence[CardTable] = ()
    pictures: Sequence[Picture] = ()
    limits: Sequence[str] = ()


@dataclass(frozen=True)
class RenderedCard:
    """Markdown, and the pictures it names by file name."""

    markdown: str
    pictures: Mapping[str, bytes]


def render(card: ModelCard) -> RenderedCard:
    """Markdown of a card, with its pictures as ``<name>.png``."""
    lines = [f"# {card.title}", "", card.summary, ""]
    if card.facts:
        lines += ["| | |", "|---|---|"]
        lines += [f"| {name} | {_text(value)} |" for name, value in card.facts.items()]
        lines.append("")
    for table in card.tables:
        lines += [f"## {table.heading}", ""]
        if table.sentence:
            lines += [table.sentence, ""]
        lines += [markdown_table(table.frame), ""]
    if card.pictures:
        lines += ["## Pictures", ""]
        for picture in card.pictures:
            lines += [f"![{picture.caption}]({picture.name}.png)", "", f"*{picture.caption}*", ""]
    if card.limits:
        lines += ["## Limits", "", *[f"- {limit}" for limit in card.limits], ""]
    return RenderedCard("\n".join(lines), {f"{one.name}.png": one.png for one in card.pictures})


def markdown_table(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table; numbers short enough to compare by eye."""
    rows = [
        "| " + " | ".join(str(name).replace("_", " ") for name in frame.columns) + " |",
        "|" + "---|" * len(frame.columns),
    ]
    rows += [
        "| " + " | ".join(_text(value) for value in row) + " |"
        for row in frame.itertuples(index=False, name=None)
    ]
    return "\n".join(rows)


def _text(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        number = float(value)
        if math.isnan(number):
            return "n/a"
        if number == int(number) and abs(number) >= 10:
            return f"{number:,.0f}"
        return f"{number:.3f}" if abs(number) < 100 else f"{number:,.1f}"
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def _draw(title: str) -> tuple[Figure, Axes]:
    # Figure, not pyplot: no global state, no display, safe in threads.
    figure = Figure(figsize=(5.2, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.25)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # No software version in the file: the same card gives the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def calibration_picture(
    label: ArrayLike, probability: ArrayLike, name: str = "calibration", bins: int = 10
) -> Picture:
    """Predicted against observed rate, ten groups of equal size, with 95 % intervals."""
    table = calibration_bins(label, probability, bins)
    figure, axes = _draw("Does a predicted 30 % happen 30 times in 100?")
    top = max(0.05, 1.05 * float(max(table["high"].max(), table["predicted"].max())))
    axes.plot([0, top], [0, top], color=_GREY, linestyle="--", label="perfect")
    distance = [
        (table["observed"] - table["low"]).clip(lower=0),
        (table["high"] - table["observed"]).clip(lower=0),
    ]
    axes.errorbar(
        table["predicted"], table["observed"], yerr=distance, color=_BLUE, marker="o", label="model"
    )
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("observed rate (95 % interval)")
    axes.legend()
    caption = "Calibration: predicted probability against what happened, in groups of equal size."
    return Picture(name, caption, _png(figure))


def gain_picture(
    label: ArrayLike, scores: Mapping[str, ArrayLike], name: str = "gain", what: str = "churners"
) -> Picture:
    """Share of positives found by looking at the top share, for the model and the rules.

    The first of ``scores`` is the model; the others are drawn thinner.
    """
    figure, axes = _draw(f"How many {what} are found by looking at the top share?")
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", label="by chance")
    colours = [_BLUE, _RED, "#7a9a3a", "#c08a2e", "#6a4c93", "#444444"]
    for number, (rule, score) in enumerate(scores.items()):
        curve = gain_curve(label, score)
        axes.plot(
            curve["contacted"],
            curve["found"],
            color=colours[number % len(colours)],
            linewidth=2.2 if number == 0 else 1.1,
            label=rule,
        )
    axes.set_xlabel("share of customers looked at")
    axes.set_ylabel(f"share of {what} found")
    axes.legend(fontsize=8)
    return Picture(
        name, f"Gain: share of {what} among the customers with the top scores.", _png(figure)
    )


def forecast_picture(
    forecast: ArrayLike, came: ArrayLike, what: str, name: str = "calibration", bins: int = 10
) -> Picture:
    """Mean forecast against what came on average, in groups of equal size by forecast."""
    expected, label = np.asarray(forecast, dtype=float), np.asarray(came, dtype=float)
    groups = np.array_split(np.argsort(expected, kind="stable"), min(bins, max(1, len(expected))))
    guessed = [float(expected[group].mean()) for group in groups]
    happened = [float(label[group].mean()) for group in groups]
    error = [1.96 * float(label[group].std() / np.sqrt(len(group))) for group in groups]
    figure, axes = _draw(f"Do forecasts of {what} come true?")
    top = max(1e-9, 1.05 * max(*guessed, *happened))
    axes.plot([0, top], [0, top], color=_GREY, linestyle="--", label="perfect")
    axes.errorbar(guessed, happened, yerr=error, color=_BLUE, marker="o", label="forecast")
    axes.set_xlabel(f"mean forecast of {what}")
    axes.set_ylabel("what came on average (95 % interval)")
    axes.legend()
    return Picture(name, f"Forecast of {what} against what came, in groups.", _png(figure))


def bars_picture(
    names: Sequence[str],
    values: Sequence[float],
    title: str,
    name: str,
    label: str = "",
    line: float | None = None,
) -> Picture:
    """Horizontal bars, the largest on top: importance of inputs, drift; ``line`` marks a limit."""
    figure, axes = _draw(title)
    order = np.argsort(np.asarray(values, dtype=np.float64))
    axes.barh(
        [names[place] for place in order], [values[place] for place in order], 0.6, color=_BLUE
    )
    # Two bars are as thick as seven, and long names leave the title the whole width.
    figure.set_figheight(1.2 + 0.45 * max(len(order), 2))
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_title("")
    figure.suptitle(title, fontsize=axes.title.get_fontsize())
    if line is not None:
        axes.axvline(line, color=_RED, linestyle="--")
    axes.set_xlabel(label)
    axes.tick_params(axis="y", labelsize=8)
    return Picture(name, title, _png(figure))


def drift_picture(
    reference: ArrayLike,
    current: ArrayLike,
    title: str = "Scores: then and now",
    name: str = "drift",
    labels: tuple[str, str] = ("training", "now"),
) -> Picture:
    """Two distributions of one number over each other."""
    before, after = np.asarray(reference, dtype=float), np.asarray(current, dtype=float)
    both = np.concatenate([before, after])
    both = both[np.isfinite(both)]
    figure, axes = _draw(title)
    if both.size:
        edges = np.histogram_bin_edges(both, bins=25).tolist()
        axes.hist(before, edges, density=True, histtype="step", color=_GREY, label=labels[0])
        axes.hist(after, edges, density=True, histtype="step", color=_BLUE, label=labels[1])
        axes.legend()
    axes.set_ylabel("density")
    return Picture(
        name, f"{title}: the grey line is {labels[0]}, the blue one {labels[1]}.", _png(figure)
    )
