"""Channel preference in the chain: from campaign touches to the channel and hour of each customer.

What belongs here: reading touches and writing scores. What does not: the model
(``models.channels``), or whether one may contact somebody (consents, caps: activation).
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from customer360.scoring.features import relation_hash
from customer360.scoring.nightly import Challenger, Given, NightlyScore, Scored
from models.channels.card import channels_card
from models.channels.evaluate import evaluate
from models.channels.preference import MAX_STRENGTH, SLOT_HOURS, fit_priors
from models.channels.train import (
    ChannelModel,
    Counts,
    count,
    fit,
    hour_shares,
    response_probability,
    split,
    touch_probability,
)
from models.common.metrics import log_losses

SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("as_of", pa.date32()),
        ("channel", pa.string()),
        ("response_probability", pa.float64()),
        ("touches", pa.int32()),
        ("responses", pa.int32()),
        ("is_best", pa.bool_()),
        ("best_from_hour", pa.int32()),
        ("best_hour_share", pa.float64()),
        ("model_version", pa.string()),
    ]
)
UNCHECKED = "shrunken-rates"


class Channels(NightlyScore):
    """The probability to respond of each customer by channel, and the hour of answering."""

    name = "channels"
    folders = ("channels",)

    def is_wanted(self, given: Given) -> bool:
        """Where nobody was ever touched there is nothing to learn."""
        return given.has("campaign_touches")

    def fit(self, given: Given) -> Challenger:
        """See ``NightlyScore.fit``; judged on the last quarter of the touches."""
        touches = read_touches(given)
        cut, before, later = split(touches)
        model = fit(before, str(pd.Timestamp(cut).date()))
        found = evaluate(model, before, later)

        def losses_of(artefact: dict[str, Any]) -> np.ndarray | None:
            champion = ChannelModel.from_artefact(artefact)
            if champion.learned_until > model.learned_until:
                return None
            return log_losses(found.label, touch_probability(champion, before, later))

        return Challenger(
            artefact=model.to_artefact(),
            data_hash=relation_hash(given.connection, TOUCHES, given.as_of),
            metrics=found.metrics,
            thresholds={},
            losses=found.losses,
            losses_of=losses_of,
            window=f"the {len(later):,} touches after {model.learned_until}",
            parameters={},
            card=lambda facts: channels_card(model, found, facts),
            summary={"touches": len(touches)},
        )

    def score(self, given: Given, artefact: dict[str, Any] | None, version: str) -> Scored:
        """See ``NightlyScore.score``; everyone in ``customers``, touched or not."""
        if not self.is_wanted(given):
            return Scored({"channels": SCHEMA.empty_table()}, version)
        touches = read_touches(given)
        alarms: tuple[str, ...] = ()
        if artefact is None:
            if not len(touches):
                return Scored({"channels": SCHEMA.empty_table()}, version)
            model = _unchecked(touches, given)
            version = UNCHECKED
            alarms = (
                f"channels: too few touches by {given.as_of} to check the preference; "
                "shrunken rates score",
            )
        else:
            model = ChannelModel.from_artefact(artefact)
        customers = pd.Index(
            given.connection.execute("select customer_id from customers order by 1").fetchnumpy()[
                "customer_id"
            ]
        )
        table = _table(model, count(touches, model.channels, customers), version, given)
        unknown = sorted(set(touches["channel"]) - set(model.channels))
        if unknown:
            alarms += (f"channels: {', '.join(unknown)} came after the training; train again",)
        return Scored(
            {"channels": table},
            version,
            {"channels": model.channels},
            _drift(model, touches),
            alarms,
        )


TOUCHES = """
    select
        customer_id,
        channel,
        (is_opened or is_clicked or is_redeemed) as responded,
        sent_on,
        least(opened_at, clicked_at) as first_answered_at
    from campaign_touches
    where customer_id is not null and channel is not null and sent_on is not null and is_delivered
"""


def read_touches(given: Given) -> pd.DataFrame:
    """Touches until the day, as ``models.channels.train`` wants them.

    Names are categories: of five million touches each as a text of its own would be gigabytes.
    """
    told = given.connection.execute(
        f"""
        select customer_id, channel, responded::int as responded, sent_on,
            extract(hour from timezone(?, timezone('UTC', first_answered_at)))::double as hour
        from ({TOUCHES})
        where sent_on <= ?
        order by customer_id, sent_on, channel, responded, hour
        """,
        [given.zone, given.as_of],
    ).to_arrow_table()
    return told.to_pandas(strings_to_categorical=True, date_as_object=False)


def _unchecked(touches: pd.DataFrame, given: Given) -> ChannelModel:
    """Priors of all touches, with nothing held back to check them."""
    channels = sorted(touches["channel"].unique())
    counts = count(touches, channels)
    shares = counts.hours.sum(axis=0) + 0.5
    return ChannelModel(
        channels,
        fit_priors(counts.responses, counts.tried),
        shares / shares.sum(),
        MAX_STRENGTH,
        given.as_of.isoformat(),
    )


def _drift(model: ChannelModel, touches: pd.DataFrame) -> dict[str, float]:
    """How far the answer rate of the touches since the training is from what was learned."""
    later = touches[touches["sent_on"] > pd.Timestamp(model.learned_until)]
    found = {}
    for name, prior in zip(model.channels, model.priors.channels, strict=True):
        rows = later[later["channel"] == name]
        if len(rows) < 100:
            continue
        rate = float(np.clip(rows["responded"].mean(), 1e-3, 1 - 1e-3))
        mean = float(np.clip(prior.mean, 1e-3, 1 - 1e-3))
        # The stability index of two bins: answered, not answered.
        found[f"answers by {name}"] = (rate - mean) * (
            np.log(rate / mean) - np.log((1 - rate) / (1 - mean))
        )
    return found


def _table(model: ChannelModel, counts: Counts, version: str, given: Given) -> pa.Table:
    """One row a customer and channel, made column by column: a million customers have five."""
    made = np.round(response_probability(model, counts), 6)
    hours = hour_shares(model, counts)
    people, width = made.shape
    slot = hours.argmax(axis=1)
    rows = people * width
    best = np.zeros((people, width), dtype=bool)
    best[np.arange(people), made.argmax(axis=1)] = True
    names = pa.DictionaryArray.from_arrays(
        pa.array(np.tile(np.arange(width, dtype=np.int32), people)), pa.array(model.channels)
    )
    ids = pa.array(counts.customers.astype(str), pa.string())
    return pa.Table.from_arrays(
        [
            ids.take(pa.array(np.repeat(np.arange(people), width))),
            pa.array(np.full(rows, np.datetime64(given.as_of)), pa.date32()),
            names.cast(pa.string()),
            pa.array(made.ravel()),
            pa.array(counts.tried.ravel().astype(np.int32)),
            pa.array(counts.responses.ravel().astype(np.int32)),
            pa.array(best.ravel()),
            pa.array(np.repeat(slot * SLOT_HOURS, width).astype(np.int32)),
            pa.array(np.repeat(np.round(hours.max(axis=1), 6), width)),
            pa.array([version], pa.string()).take(pa.array(np.zeros(rows, dtype=np.int64))),
        ],
        schema=SCHEMA,
    )
