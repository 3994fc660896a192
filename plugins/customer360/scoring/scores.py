"""The scores of the nightly chain, in the order in which they are made."""

from customer360.exceptions import Customer360Error
from customer360.scoring.channels import Channels
from customer360.scoring.churn import Churn
from customer360.scoring.customer_sentiment import Sentiment
from customer360.scoring.nightly import NightlyScore
from customer360.scoring.personas import Personas
from customer360.scoring.value import Value

SCORES: tuple[NightlyScore, ...] = (Churn(), Value(), Personas(), Sentiment(), Channels())


def score_named(name: str) -> NightlyScore:
    """One of ``SCORES``.

    Raises:
        Customer360Error: there is none of this name.
    """
    for score in SCORES:
        if score.name == name:
            return score
    names = ", ".join(score.name for score in SCORES)
    raise Customer360Error(f"there is no model '{name}'; there are {names}")
