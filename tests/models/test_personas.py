"""Personas: named as a person would, worth more than tiers where behaviour tells more."""

import numpy as np
import pandas as pd
import pytest

from models.common.card import render
from models.common.errors import ModelDataError
from models.segments.personas import (
    evaluate,
    fit_personas,
    from_artefact,
    persona_card,
    to_artefact,
)


@pytest.fixture(scope="module")
def quarters() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two quarters of three kinds of customers; those who are long away spend nothing more."""

    def quarter(seed: int) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        kind = random.choice(3, 900, p=[0.4, 0.35, 0.25])
        orders = random.poisson(np.array([2, 12, 12])[kind]) + 1
        spend = orders * random.lognormal(8, 0.3, 900)
        later = np.where(kind == 2, 0, spend / 4 * random.lognormal(0, 0.3, 900))
        return pd.DataFrame(
            {
                "recency_days": np.array([60, 10, 250])[kind] + random.integers(0, 9, 900),
                "orders_52w": orders,
                "spend_cents_52w": spend,
                "basket_cents": spend / orders,
                "visits": orders,
                "future_spend_cents": later,
            }
        )

    return quarter(1), quarter(2)


def test_they_tell_more_of_the_next_quarter_than_tiers_and_have_names(quarters):
    before, later = quarters
    clusters = fit_personas(before)
    found = evaluate(clusters, before, later)
    metrics = found.metrics
    assert metrics["explained_of_log"] > metrics["tiers_explained_of_log"] + 0.2
    assert len(found.losses) == len(later)
    assert len(set(clusters.names)) == len(clusters.names)
    assert any("long away" in name for name in clusters.names)
    assert not any("_52w" in name for name in clusters.names)
    card = render(persona_card(clusters, later, found))
    assert "worth having" in card.markdown
    assert set(card.pictures) == {"sizes.png", "worth.png"}


def test_they_come_back_from_plain_values_and_keep_their_names(quarters):
    before, later = quarters
    clusters = fit_personas(before)
    again = from_artefact(to_artefact(clusters))
    assert (again.predict(later) == clusters.predict(later)).all()
    fresh = fit_personas(later, last=again)
    assert dict(zip(fresh.labels, fresh.names, strict=True)) == dict(
        zip(clusters.labels, clusters.names, strict=True)
    )


def test_a_quarter_without_any_purchase_cannot_check_them(quarters):
    before, later = quarters
    clusters = fit_personas(before)
    with pytest.raises(ModelDataError, match="nobody bought"):
        evaluate(clusters, before, later.assign(future_spend_cents=0))
    with pytest.raises(ModelDataError, match="constant"):
        fit_personas(before.assign(**dict.fromkeys(clusters.features, 1.0)))
