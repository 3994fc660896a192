"""Why a customer is at risk, in the customer's own values.

The contribution of a column is what the model itself says: the customer's log-odds, minus the
log-odds of the same customer with typical values in that column (the interventional effect of
one feature; Janzing et al. 2020). It works for the whole blend, and needs no second model that
merely imitates the first.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from models.common.tabular import MISSING, OTHER, Column, TableEncoder
from models.contractual.train import ContractualModel

Floats = NDArray[np.float64]
MIN_CONTRIBUTION = 0.05
BATCH = 2000


def contributions(model: ContractualModel, readable: pd.DataFrame) -> pd.DataFrame:
    """Log-odds that each column adds for each row, against typical values of that column."""
    encoder = model.encoder
    trees, linear = encoder.for_trees(readable), encoder.for_linear(readable)
    _, coefficients = model.linear_part()
    added = np.zeros((len(readable), len(encoder.columns)))
    cases: list[tuple[int, float, float]] = []
    for place, column in enumerate(encoder.columns):
        usual = pd.DataFrame({column.name: _typical_series(column, model)})
        shares = [share for _, share in model.typical[column.name]]
        alone = TableEncoder([column], [])
        cases += [
            (place, float(code), share)
            for code, share in zip(alone.for_trees(usual)[:, 0], shares, strict=True)
        ]
        block = encoder.linear_slices[column.name]
        typical_part = np.array(shares) @ alone.for_linear(usual) @ coefficients[block]
        added[:, place] = linear[:, block] @ coefficients[block] - typical_part
    for start in range(0, len(readable), BATCH):
        some = trees[start : start + BATCH]
        # All variants of a batch in one call, because a call has a fixed price a tree.
        variants = np.repeat(some[None, :, :], len(cases) + 1, axis=0)
        for number, (place, code, _) in enumerate(cases, start=1):
            variants[number, :, place] = code
        flat = variants.reshape(-1, some.shape[1])
        odds = model.tree_log_odds(flat).reshape(len(cases) + 1, len(some))
        for number, (place, _, share) in enumerate(cases, start=1):
            added[start : start + BATCH, place] += share * (odds[0] - odds[number])
    return pd.DataFrame(added, index=readable.index, columns=[one.name for one in encoder.columns])


def _typical_series(column: Column, model: ContractualModel) -> pd.Series:
    values = [value for value, _ in model.typical[column.name]]
    if column.kind == "category":
        return pd.Series(pd.Categorical(values, categories=[*column.levels, OTHER]))
    return pd.Series(values, dtype=np.float64)


def reasons_in_words(
    model: ContractualModel, frame: pd.DataFrame, added: pd.DataFrame, top: int = 3
) -> pd.DataFrame:
    """``reason_1..top``: what raises the risk most, in words; empty where nothing does.

    Points are percentage points of probability that the column alone adds.
    """
    readable = model.encoder.readable(frame)
    odds = model.log_odds(readable)
    columns = model.encoder.columns
    values = added.to_numpy()
    order = np.argsort(-values, axis=1, kind="stable")[:, :top]
    by_column = [_phrases(column, readable[column.name], model) for column in columns]
    reasons: dict[str, list[str]] = {}
    for rank in range(min(top, len(columns))):
        texts = []
        for row in range(len(frame)):
            place = order[row, rank]
            effect = values[row, place]
            if effect < MIN_CONTRIBUTION:
                texts.append("")
                continue
            points = 100 * float(expit(odds[row]) - expit(odds[row] - effect))
            amount = f"{points:.0f}" if points >= 1 else f"{max(points, 0.1):.1f}"
            unit = "point" if amount == "1" else "points"
            texts.append(f"{by_column[place][row]}, adds {amount} {unit}")
        reasons[f"reason_{rank + 1}"] = texts
    for rank in range(len(columns), top):
        reasons[f"reason_{rank + 1}"] = [""] * len(frame)
    return pd.DataFrame(reasons, index=frame.index)


def _phrases(column: Column, values: pd.Series, model: ContractualModel) -> list[str]:
    name = column.name
    if column.kind == "category":
        usual = max(model.typical[name], key=lambda pair: pair[1])[0]
        words = {MISSING: "is not known", OTHER: "is a rare or new value"}
        return [
            f"{name} {words.get(value, f'is {value}')}"
            + ("" if value == usual else f" (most often {words.get(str(usual), usual)})")
            for value in values
        ]
    unit = " days before the latest" if column.kind == "date" else ""
    if column.few:
        center = float(max(model.typical[name], key=lambda pair: pair[1])[0])  # type: ignore[arg-type]  # a column of numbers has numbers in its pairs
        usually = f"(most often {center:,.4g})"
    else:
        usually = f"(typical: {column.center:,.4g})"
    return [
        f"{name} is not known" if np.isnan(value) else f"{name} is {value:,.4g}{unit} {usually}"
        for value in values.to_numpy(dtype=np.float64)
    ]
