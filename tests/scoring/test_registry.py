"""The model registry: sound files only, and only challengers that are better."""

from datetime import date

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier
from sqlalchemy import create_engine

from customer360.exceptions import ModelError
from customer360.registry import Decision, Registry, decide, version_name

YES = Decision(True, "first")


@pytest.fixture
def registry(tmp_path):
    return Registry(create_engine(f"sqlite:///{tmp_path / 'state.sqlite'}"), tmp_path / "models")


def register(registry, day, version, value=1.0, decision=YES):
    return registry.register(
        version=version,
        kind="churn-28d",
        trained_as_of=date(2026, 1, day),
        artefact={"value": value, "weights": np.array([1.0, 2.0])},
        decision=decision,
        data_hash="d",
        code="c",
        metrics={"auc": float("nan"), "rows": np.int64(3)},
        thresholds={"high": 0.5},
    )


def test_the_newest_champion_that_does_not_know_the_future_scores(registry):
    register(registry, 5, "old")
    register(registry, 12, "new", value=2.0)
    register(registry, 19, "refused", decision=Decision(False, "worse"))
    assert registry.latest_champion("churn-28d", date(2026, 1, 31)).row.version == "new"
    assert registry.latest_champion("churn-28d", date(2026, 1, 11)).row.version == "old"
    assert registry.latest_champion("churn-28d", date(2026, 1, 1)) is None
    assert registry.latest_champion("churn-7d", date(2026, 1, 31)) is None
    assert [row.version for row in registry.versions()] == ["refused", "new", "old"]


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_bad_file_is_refused_and_the_champion_before_it_scores(registry, damage):
    register(registry, 5, "old")
    row = register(registry, 12, "new", value=2.0)
    path = registry.folder / row.file
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "altered":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        path.unlink()
    champion = registry.latest_champion("churn-28d", date(2026, 1, 31))
    assert champion.row.version == "old"
    assert champion.artefact["value"] == 1.0
    assert "new" in champion.warnings[0]
    register(registry, 12, "new", value=2.0)
    assert registry.latest_champion("churn-28d", date(2026, 1, 31)).row.version == "new"


def test_no_sound_file_at_all_is_an_error(registry):
    path = registry.folder / register(registry, 5, "old").file
    path.write_bytes(b"PK")
    with pytest.raises(ModelError, match="none of the 1 champions"):
        registry.latest_champion("churn-28d", date(2026, 1, 31))


def test_a_type_that_is_not_on_the_list_is_refused_both_ways(registry):
    with pytest.raises(ModelError, match="allow-list"):
        registry.register(
            version="bad", kind="churn-28d", trained_as_of=date(2026, 1, 5),
            artefact={"run": YES}, decision=YES, data_hash="d", code="c", metrics={},
        )  # fmt: skip
    # A file with a matching hash (the attacker wrote both) is still stopped by its types.
    import hashlib

    row = register(registry, 5, "old")
    content = skops.io.dumps({"run": YES})
    (registry.folder / row.file).write_bytes(content)
    forged = type(row)(**{**row.__dict__, "sha256": hashlib.sha256(content).hexdigest()})
    with pytest.raises(ModelError, match="allow-list"):
        registry.load(forged)


def test_a_fitted_boosting_comes_back_and_says_the_same(registry):
    random = np.random.default_rng(1)
    values = random.normal(size=(300, 3))
    fitted = HistGradientBoostingClassifier(max_iter=5).fit(values, values[:, 0] > 0)
    row = registry.register(
        version="boosting", kind="churn-28d", trained_as_of=date(2026, 1, 5),
        artefact={"estimator": fitted}, decision=YES, data_hash="d", code="c", metrics={},
    )  # fmt: skip
    loaded = registry.load(row)["estimator"]
    assert (loaded.predict_proba(values) == fitted.predict_proba(values)).all()


def test_registering_again_changes_nothing(registry):
    first = register(registry, 5, "same")
    content = (registry.folder / first.file).read_bytes()
    again = register(registry, 5, "same", value=3.0, decision=Decision(False, "worse"))
    assert again == first
    assert (registry.folder / first.file).read_bytes() == content
    assert first.metrics == {"auc": None, "rows": 3}


def test_a_challenger_must_be_better_than_noise():
    random = np.random.default_rng(2)
    champion = random.exponential(0.3, 2000)
    assert decide(None, champion, "window").promoted
    assert not decide(champion, champion, "window").promoted
    assert not decide(champion, champion + 0.02, "window").promoted
    noise = champion - 0.0001 + random.normal(0, 0.3, 2000)
    assert not decide(champion, noise, "window").promoted
    better = decide(champion, champion - 0.02 + random.normal(0, 0.05, 2000), "May")
    assert better.promoted
    assert "May" in better.reason


def test_the_same_training_has_the_same_name():
    names = {
        version_name("churn-28d", date(2026, 1, 5), data, code, {"seed": seed})
        for data in ("a", "b") for code in ("a", "b") for seed in (1, 2)
    }  # fmt: skip
    assert len(names) == 8
    assert version_name("k", date(2026, 1, 5), "a", "b", {"x": 1, "y": 2}) == version_name(
        "k", date(2026, 1, 5), "a", "b", {"y": 2, "x": 1}
    )
