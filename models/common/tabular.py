"""Any customer table as numbers: what each column is, and how a model sees it.

What belongs here: deciding what a column is from its values (``describe_columns``), encoding a
frame for trees and for linear models (``TableEncoder``), and warning of columns that look like
the answer (``suspect_leaks``). What does not: anything about churn, campaigns or texts.

Types are decided from values, never from the reader's dtypes, because files lie: numbers arrive
as text with blanks between them, flags as words, row numbers as measurements.
"""

import re
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from models.common.errors import ModelDataError

Floats = NDArray[np.float64]
ColumnKind = Literal["number", "category", "date"]

MISSING = "(missing)"
OTHER = "(other)"
MAX_LEVELS = 40
PARSED_SHARE = 0.95
FEW_VALUES = 12
LEAK_AUC = 0.90

# "CustomerId", "row_number", "ID", "Account No": the last word of the name says identifier.
_ID_WORDS = {
    "id",
    "no",
    "nr",
    "num",
    "number",
    "uuid",
    "guid",
    "key",
    "code",
    "index",
    "编号",
    "号",
}


@dataclass(frozen=True)
class Column:
    """What a column is and what of it was learned from the training rows.

    Attributes:
        name: of the column in the frame.
        kind: number, category or date (days before ``origin``).
        levels: categories that are common enough to learn from; the others are ``OTHER``.
        knots: places where the linear model's line may bend (quantiles), or, with few distinct
            values, those values, each of which gets its own weight.
        center: median; stands in for missing numbers in the linear model.
        scale: distance between the 5 % and 95 % quantiles.
        lowest: smallest training value; for trees, missing lies one ``scale`` below it.
        few: whether ``knots`` are the values themselves.
        origin: latest date of the training rows.
    """

    name: str
    kind: ColumnKind
    levels: tuple[str, ...] = ()
    knots: tuple[float, ...] = ()
    center: float = 0.0
    scale: float = 1.0
    lowest: float = 0.0
    few: bool = False
    origin: pd.Timestamp | None = None


def describe_columns(frame: pd.DataFrame) -> tuple[list[Column], list[str]]:
    """Decide what each column is; return the usable ones and notes on the rest.

    Constant columns, identifiers and free text are left out, each with a note. Values that are
    not numbers in a column of numbers count as missing, and so do infinities.

    Raises:
        ModelDataError: a column name is doubled, or no usable column is left.
    """
    if frame.columns.duplicated().any():
        doubled = frame.columns[frame.columns.duplicated()][0]
        raise ModelDataError(f"the column `{doubled}` is there twice; rename one")
    columns, notes = [], []
    for name in frame.columns:
        column, note = _describe(str(name), frame[name])
        if column is not None:
            columns.append(column)
        if note:
            notes.append(f"{name}: {note}")
    if not columns:
        raise ModelDataError(
            "no usable feature is left: every column is constant, an identifier or free text; "
            "give columns that describe the customer"
        )
    return columns, notes


def _describe(name: str, values: pd.Series) -> tuple[Column | None, str]:
    if pd.api.types.is_datetime64_any_dtype(values):
        return _describe_dates(name, values)
    numbers = as_numbers(values)
    if pd.api.types.is_numeric_dtype(values):
        infinite = int(np.isinf(values.to_numpy(dtype=np.float64, na_value=np.nan)).sum())
        note = f"{infinite} infinite values count as missing" if infinite else ""
        return _describe_numbers(name, numbers, note)
    words = as_words(values)
    given = (words != MISSING).to_numpy()
    if not given.any():
        return None, "left out, it is empty"
    parsed = np.isfinite(numbers[given]).mean()
    if parsed >= PARSED_SHARE:
        unread = int((~np.isfinite(numbers[given])).sum())
        note = f"{unread} values are not finite numbers and count as missing" if unread else ""
        return _describe_numbers(name, numbers, note)
    dates = _as_dates(values)
    if dates[given].notna().mean() >= PARSED_SHARE:
        return _describe_dates(name, dates)
    return _describe_words(name, words)


def as_numbers(values: pd.Series) -> Floats:
    """Values as floats; what is not a finite number is NaN."""
    if not pd.api.types.is_numeric_dtype(values):
        values = pd.to_numeric(values.astype("string").str.strip(), errors="coerce")
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def as_words(values: pd.Series) -> pd.Series:
    """Values as trimmed text; what is missing or blank is ``MISSING``."""
    words = values.astype("string").str.strip()
    return words.mask(words == "").fillna(MISSING).astype(object)


def _as_dates(values: pd.Series) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(values):
        dates = values
    else:
        text = values.astype("string").str.strip()
        # Digits with separators only: pandas would read "May" or "7" as dates, too.
        text = text.where(text.str.match(r"^\d{4}[-/.]\d{1,2}[-/.]\d{1,2}"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            dates = pd.to_datetime(text, errors="coerce", utc=True, format="mixed")
    return dates.dt.tz_localize(None) if dates.dt.tz is not None else dates


def _is_id_name(name: str) -> bool:
    parts = re.split(r"[^0-9A-Za-z一-鿿]+|(?<=[a-z])(?=[A-Z])", name.strip())
    return parts[-1].lower() in _ID_WORDS


def _describe_numbers(name: str, numbers: Floats, note: str) -> tuple[Column | None, str]:
    known = numbers[np.isfinite(numbers)]
    if known.size == 0:
        return None, "left out, it is empty"
    distinct = np.unique(known)
    if distinct.size == 1 and known.size == numbers.size:
        return None, "left out, it is constant"
    whole = bool((known == np.round(known)).all())
    if whole and known.size >= 20 and distinct.size == known.size == numbers.size:
        contiguous = distinct[-1] - distinct[0] + 1 == distinct.size
        if contiguous or _is_id_name(name):
            return None, "left out, every row has its own number: an identifier"
    few = distinct.size <= FEW_VALUES
    low, high = np.quantile(known, [0.05, 0.95])
    knots = distinct if few else np.unique(np.quantile(known, [0.1, 0.25, 0.5, 0.75, 0.9]))
    return Column(
        name,
        "number",
        knots=tuple(float(knot) for knot in knots),
        center=float(np.median(known)),
        scale=float(high - low) or float(distinct[-1] - distinct[0]) or 1.0,
        lowest=float(distinct[0]),
        few=few,
    ), note


def _describe_dates(name: str, dates: pd.Series) -> tuple[Column | None, str]:
    naive = _as_dates(dates)
    if naive.notna().sum() == 0:
        return None, "left out, it is empty"
    origin = naive.max()
    column, note = _describe_numbers(name, _days_before(naive, origin), "")
    if column is None:
        return None, note
    return Column(**{**column.__dict__, "kind": "date", "origin": origin}), note


def _days_before(dates: pd.Series, origin: pd.Timestamp) -> Floats:
    days = (origin - dates).dt.total_seconds() / 86_400
    return days.to_numpy(dtype=np.float64, na_value=np.nan)


def _describe_words(name: str, words: pd.Series) -> tuple[Column | None, str]:
    counts = words.value_counts()
    if len(counts) == 1:
        return None, "left out, it is constant"
    given = counts.drop(MISSING, errors="ignore")
    if len(given) > 0.5 * given.sum() and given.sum() >= 20:
        long = words[words != MISSING].str.len().mean() > 30
        if long:
            return None, "left out, it is free text; score it with `customer360 score sentiment`"
        return None, "left out, nearly every row has its own value: an identifier"
    enough = max(5, 0.004 * len(words))
    levels = [str(level) for level in counts.index[:MAX_LEVELS] if counts[level] >= enough]
    if not levels:
        return None, "left out, no value is common enough to learn from"
    note = ""
    if len(levels) < len(counts):
        note = f"{len(counts) - len(levels)} rare values are taken together"
    return Column(name, "category", levels=tuple(sorted(levels))), note


class TableEncoder:
    """Encodes a frame as learned from training rows, for trees and for linear models.

    Unseen categories become ``OTHER``, missing values stay visible, extra columns are ignored;
    a missing column is an error.
    """

    def __init__(self, columns: list[Column], notes: list[str]) -> None:
        self.columns = columns
        self.notes = notes

    @classmethod
    def fit(cls, frame: pd.DataFrame) -> "TableEncoder":
        """Learn columns, levels and knots; nothing is learned from labels."""
        return cls(*describe_columns(frame))

    def readable(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The columns as the model reads them: floats, and words with ``MISSING``/``OTHER``.

        Raises:
            ModelDataError: columns are missing.
        """
        missing = [column.name for column in self.columns if column.name not in frame]
        if missing:
            raise ModelDataError(
                f"columns the model was trained on are missing: {', '.join(missing)}; "
                "add them (empty values are allowed) or train again"
            )
        read: dict[str, object] = {}
        for column in self.columns:
            values = frame[column.name]
            if column.kind == "number":
                read[column.name] = as_numbers(values)
            elif column.kind == "date":
                assert column.origin is not None
                read[column.name] = _days_before(_as_dates(values), column.origin)
            else:
                words = pd.Categorical(as_words(values), categories=[*column.levels, OTHER])
                words[words.isna()] = OTHER
                read[column.name] = words
        return pd.DataFrame(read, index=frame.index)

    def for_trees(self, readable: pd.DataFrame) -> Floats:
        """One column each: numbers, missing below all others, categories as their place.

        Missing is not left NaN, because boosting refuses a column that is empty in one fold.
        """
        parts = []
        for column in self.columns:
            values = readable[column.name]
            if column.kind == "category":
                parts.append(values.cat.codes.to_numpy(dtype=np.float64))
            else:
                numbers = np.maximum(values.to_numpy(dtype=np.float64), column.lowest)
                parts.append(np.where(np.isnan(numbers), column.lowest - column.scale, numbers))
        return np.column_stack(parts)

    @property
    def is_category(self) -> list[bool]:
        """Which columns of ``for_trees`` are categories."""
        return [column.kind == "category" for column in self.columns]

    def for_linear(self, readable: pd.DataFrame) -> Floats:
        """Flags for levels and few values; numbers as bent lines with a flag where missing."""
        return np.hstack([linear_block(one, readable[one.name]) for one in self.columns])

    @property
    def linear_slices(self) -> dict[str, slice]:
        """Column -> its place in ``for_linear``."""
        slices, start = {}, 0
        for column in self.columns:
            width = len(column.levels) + (0 if column.levels else 2 + len(column.knots))
            slices[column.name] = slice(start, start + width)
            start += width
        return slices


def linear_block(column: Column, values: pd.Series) -> Floats:
    """One column as a linear model sees it; values as ``TableEncoder.readable`` gives them."""
    if column.kind == "category":
        codes = values.cat.codes.to_numpy()
        return np.equal.outer(codes, np.arange(len(column.levels))).astype(np.float64)
    numbers = values.to_numpy(dtype=np.float64)
    missing = np.isnan(numbers)
    filled = np.where(missing, column.center, numbers)
    knots = np.asarray(column.knots)
    line = np.clip((filled - column.center) / column.scale, -2.0, 2.0)
    if column.few:
        bends = np.equal.outer(numbers, knots).astype(np.float64)
    else:
        bends = np.clip(np.subtract.outer(filled, knots) / column.scale, 0.0, 2.0)
    return np.column_stack([missing, line, bends])


def column_auc(values: pd.Series, label: Floats, column: Column) -> float:
    """How well one column alone ranks the label: AUC of its rate by group, out of fold.

    Groups are levels, or twentieths of a number, with missing as one of its own, so that a
    column that is only filled for churners shows.
    """
    if column.kind == "category":
        codes = values.cat.codes.to_numpy().astype(np.int64)
    else:
        numbers = values.to_numpy(dtype=np.float64)
        known = numbers[np.isfinite(numbers)]
        edges = np.unique(np.quantile(known, np.linspace(0, 1, 21)[1:-1]))
        codes = np.where(np.isfinite(numbers), np.searchsorted(edges, numbers), len(edges) + 1)
    half = np.arange(len(label)) % 2
    score = np.empty(len(label))
    for part in (0, 1):
        fit, apply = half != part, half == part
        base = label[fit].mean()
        hits = np.bincount(codes[fit], weights=label[fit], minlength=codes.max() + 1)
        rows = np.bincount(codes[fit], minlength=codes.max() + 1)
        score[apply] = ((hits + base) / (rows + 1.0))[codes[apply]]
    return float(roc_auc_score(label, score))


def suspect_leaks(encoder: TableEncoder, readable: pd.DataFrame, label: Floats) -> dict[str, str]:
    """Columns that know the answer too well -> why they are suspected.

    Suspected: a column that alone reaches ``LEAK_AUC``, or one value of which covers a part
    of the positives (3 % or more) at a rate of (nearly) 1, as "spend above zero" does for
    "has visited".
    """
    if label.min() == label.max():
        return {}
    found = {}
    for column in encoder.columns:
        values = readable[column.name]
        auc = column_auc(values, label, column)
        if auc >= LEAK_AUC:
            found[column.name] = f"alone it ranks the label with AUC {auc:.3f}"
            continue
        if column.kind == "category":
            groups = values.astype(object).to_numpy()
        else:
            numbers = values.to_numpy(dtype=np.float64)
            groups = np.where(np.isnan(numbers), MISSING, np.sign(numbers - column.center))
        table = pd.DataFrame({"group": groups, "label": label}).groupby("group")["label"]
        sure = (table.mean() >= 0.995) & (table.sum() >= max(30.0, 0.03 * label.sum()))
        if sure.any() and label.mean() < 0.9:
            share = float(table.sum()[sure].sum() / label.sum())
            found[column.name] = f"one of its values always means yes ({share:.0%} of all cases)"
    return found
