"""What models of purchases look at, and the frame they need.

The features themselves are computed by the SQL macro ``customer_features``; here they are only
chosen, grouped, and made into numbers.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.common.errors import ModelDataError

# Columns of one group mean the same thing to a person: their contributions are added up and told
# as one reason.
GROUPS: dict[str, tuple[str, ...]] = {
    "rhythm": (
        "recency_days",
        "recency_in_gaps",
        "gap_mean_days",
        "gap_median_days",
        "gap_std_days",
        "gap_max_days",
        "gap_last_days",
    ),
    "frequency": (
        "orders_1w",
        "orders_2w",
        "orders_4w",
        "orders_8w",
        "orders_13w",
        "orders_26w",
        "orders_52w",
        "active_weeks_4w",
        "active_weeks_13w",
        "active_weeks_26w",
        "active_weeks_52w",
        "active_periods",
        "active_share",
    ),
    "trend": ("orders_change_4w", "orders_change_13w"),
    "spend": (
        "spend_cents_4w",
        "spend_cents_13w",
        "spend_cents_26w",
        "spend_cents_change_13w",
        "basket_cents",
        "spend_cents_last",
        "basket_quantity_26w",
    ),
    "loyalty": ("tenure_days", "visits"),
    "season": ("orders_year_ago",),
    "habit": ("weekend_share", "main_weekday_share"),
}
FEATURES: tuple[str, ...] = tuple(name for group in GROUPS.values() for name in group)
GROUP_OF: tuple[str, ...] = tuple(group for group, names in GROUPS.items() for _ in names)
_DERIVED = {"active_share"}
REQUIRED: tuple[str, ...] = (
    *(name for name in FEATURES if name not in _DERIVED),
    "known_periods",
)


def informative(values: NDArray[np.float64]) -> list[int]:
    """Places of the columns that say something; scikit-learn 1.9 stops on one all unknown.

    Raises:
        ModelDataError: there are none.
    """
    places = []
    for place in range(values.shape[1]):
        column = values[:, place]
        finite = column[np.isfinite(column)]
        if finite.size and (finite.min() != finite.max() or finite.size != column.size):
            places.append(place)
    if not places:
        raise ModelDataError("all features are constant; there is nothing to learn from")
    return places


def matrix(frame: pd.DataFrame) -> NDArray[np.float64]:
    """The numbers of ``FEATURES``, rows in the order of the frame; unknown and infinite are NaN.

    Raises:
        ModelDataError: columns are missing.
    """
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing:
        raise ModelDataError(
            f"features are missing: {', '.join(missing)}; "
            "make them with the macro customer_features of this version"
        )
    numbers = {
        name: frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        for name in FEATURES
        if name not in _DERIVED
    }
    known = frame["known_periods"].to_numpy(dtype=np.float64, na_value=np.nan)
    numbers["active_share"] = numbers["active_periods"] / np.maximum(known, 1.0)
    # A season can only be read where the customer was there a year ago.
    numbers["orders_year_ago"] = np.where(
        numbers["tenure_days"] >= 364, numbers["orders_year_ago"], np.nan
    )
    values = np.column_stack([numbers[name] for name in FEATURES])
    values[~np.isfinite(values)] = np.nan
    return values
