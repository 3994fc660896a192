"""Which past dates a model learns on, is calibrated on, is chosen on, and is reported on.

A window is an origin (the as-of date of the features) and the horizon after it (the label). The
four kinds of windows do not overlap in time, and each lies after the one before:

    training origins ... | calibration | choice | report | as-of
                    each a horizon long

so that no figure that is reported was used for any fit, calibration or choice.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd

from models.common.errors import ModelDataError

MAX_TRAINING_ORIGINS = 26


@dataclass(frozen=True)
class Windows:
    """Origins of each kind; the label of ``origin`` is what happens in the horizon after it."""

    horizon_days: int
    training: tuple[date, ...]
    calibration: date
    choice: date
    report: date

    @property
    def origins(self) -> tuple[date, ...]:
        """All origins, earliest first."""
        return (*self.training, self.calibration, self.choice, self.report)

    @property
    def learned_until(self) -> date:
        """The last day that the fit or the calibration has seen."""
        return self.calibration + timedelta(days=self.horizon_days)


def plan_windows(first_on: date, as_of: date, horizon_days: int) -> Windows:
    """Lay the windows back from ``as_of``.

    Args:
        first_on: day of the first order in the data.
        as_of: the last day that is known.
        horizon_days: length of the label.

    Raises:
        ModelDataError: the history is too short for one training origin.
    """
    if horizon_days < 1:
        raise ModelDataError(f"a horizon of {horizon_days} days is not possible; give 1 or more")
    horizon = timedelta(days=horizon_days)
    step = timedelta(days=max(7, horizon_days // 4))
    # A first origin with less history than this knows nothing that the horizon could repeat.
    history = timedelta(days=max(28, min(horizon_days, 56)))
    last = as_of - 4 * horizon
    training = [
        last - number * step
        for number in range(MAX_TRAINING_ORIGINS)
        if last - number * step >= first_on + history
    ]
    if not training:
        needed = (4 * horizon + history).days
        raise ModelDataError(
            f"too little history to learn {horizon_days} days ahead: {needed} days of orders are "
            f"needed before {as_of}, there are {max(0, (as_of - first_on).days)}; "
            "give a longer history or a shorter horizon"
        )
    return Windows(
        horizon_days=horizon_days,
        training=tuple(reversed(training)),
        calibration=as_of - 3 * horizon,
        choice=as_of - 2 * horizon,
        report=as_of - horizon,
    )


def rows_of(frame: pd.DataFrame, *origins: object) -> pd.DataFrame:
    """The rows of these origins."""
    wanted = pd.to_datetime(pd.Series(list(origins)))
    return frame[pd.to_datetime(frame["as_of"]).isin(wanted)]
