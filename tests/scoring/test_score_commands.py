"""``customer360 score`` on labelled tables, texts and campaigns, as a user calls it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from customer360.cli import cli
from customer360.exceptions import ModelError, SourceError
from customer360.scoring import corpora
from models.uplift import evaluate


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(evaluate, "REPLICATES", 50)


def run(folder: Path, command: str, frame: pd.DataFrame, mapping: str, *more: str) -> tuple:
    frame.to_csv(folder / "in.csv", index=False)
    (folder / "mapping.yml").write_text(mapping, encoding="utf-8")
    out = folder / "out.csv"
    arguments = ["score", command, str(folder / "in.csv"), "--json", "--out", str(out)]
    arguments += ["--mapping", str(folder / "mapping.yml"), *more]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), pd.read_csv(out, dtype={"customer_id": str, "id": str})


def customers(rows: int = 260) -> pd.DataFrame:
    random = np.random.default_rng(1)
    tenure = random.integers(1, 60, rows)
    return pd.DataFrame(
        {
            "id": [f"c{row}" for row in range(rows)],
            "tenure": tenure,
            "plan": random.choice(["a", "b"], rows),
            "left": np.where(random.random(rows) < 1 / (1 + np.exp((tenure - 20) / 8)), "Y", "N"),
        }
    )


def test_churn_labelled_scores_every_row_and_leaves_a_card(tmp_path: Path) -> None:
    frame = customers()
    frame.loc[3, "left"] = ""
    figures, out = run(
        tmp_path,
        "churn-labelled",
        frame,
        "fields: {customer_id: id, label: left}",
        "--folds",
        "2",
    )
    assert list(out["customer_id"]) == list(frame["id"])
    assert out["churn_probability"].between(0, 1).all()
    assert out["reason_1"].str.contains("tenure is", na=False).any()
    assert figures["auc"] > 0.7
    assert figures["unlabelled"] == 1
    assert {one["who"] for one in figures["naive"]} >= {"plain logistic", "base rate for all"}
    assert Path(figures["card"]).read_text("utf-8").startswith("# Churn")
    assert (tmp_path / "out-card" / "calibration.png").stat().st_size > 1000


def test_one_class_is_a_clear_error_and_nothing_is_written(tmp_path: Path) -> None:
    frame = customers().assign(left="N")
    with pytest.raises(ModelError, match="one class only"):
        run(tmp_path, "churn-labelled", frame, "fields: {customer_id: id, label: left}")
    assert not (tmp_path / "out.csv").exists()


def test_the_order_of_the_rows_changes_no_score(tmp_path: Path) -> None:
    mapping = "fields: {customer_id: id, label: left}"
    frame = customers()
    shuffled = frame.sample(frac=1.0, random_state=2)
    scores = []
    for name, given in (("one", frame), ("two", shuffled)):
        (tmp_path / name).mkdir()
        _, out = run(tmp_path / name, "churn-labelled", given, mapping, "--folds", "2")
        assert list(out["customer_id"]) == list(given["id"])
        scores.append(out.set_index("customer_id")["churn_probability"].sort_index())
    pd.testing.assert_series_equal(*scores)


def texts() -> pd.DataFrame:
    good, bad = ["质量很好", "非常满意", "great value"], ["太差了", "很失望", "terrible"]
    rows = [f"{word} {number % 7}" for number in range(40) for word in (*good, *bad)]
    return pd.DataFrame({"review": rows, "stars": np.tile([5, 4, 5, 1, 2, 1], 40)})


def small_corpus() -> tuple[list[str], list[str]]:
    good = [f"东西质量很好，我非常满意，推荐{chr(0x4E00 + row)}" for row in range(50)]
    bad = [f"东西质量太差了，我很失望，不推荐{chr(0x4E00 + row)}" for row in range(50)]
    return good, bad


def test_sentiment_without_labels_and_again_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "corpus", small_corpus)
    frame = texts().assign(review=lambda table: table["review"].mask(table.index == 0, ""))
    figures, out = run(tmp_path, "sentiment", frame, "fields: {text: review}")
    assert out["sentiment"].between(-1, 1).all()
    assert out.loc[0, "sentiment"] == 0
    assert figures["empty"] == 1
    positive = frame["stars"].ge(4).to_numpy()[1:]
    assert ((out["sentiment"][1:] > 0) == positive).mean() > 0.95
    assert {"delivery", "quality", "price", "service"} <= set(out.columns)

    monkeypatch.setattr(corpora, "corpus", lambda: pytest.fail("the file was not used"))
    _, again = run(tmp_path, "sentiment", frame, "fields: {text: review}")
    np.testing.assert_allclose(again["sentiment"], out["sentiment"], atol=1e-4)


def test_a_broken_model_file_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "corpus", small_corpus)
    corpora.general_model()
    (path,) = (tmp_path / "data").rglob("sentiment-general-*.npz")
    path.write_bytes(path.read_bytes()[:200])
    assert corpora.general_model().log_odds(["我很失望"])[0] < 0
    assert path.stat().st_size > 200


def test_sentiment_learns_from_stars_out_of_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customer360.scoring.sentiment.corpus", small_corpus)
    monkeypatch.setattr(corpora, "corpus", small_corpus)
    frame = texts()
    frame.loc[5, "stars"] = 3
    figures, out = run(
        tmp_path, "sentiment", frame, "fields: {text: review, label: stars}", "--folds", "3"
    )
    assert figures["rows"] == len(frame) - 1
    assert figures["auc"] > 0.95
    assert len(out) == len(frame)


def test_texts_that_are_all_empty_are_an_error(tmp_path: Path) -> None:
    frame = pd.DataFrame({"review": [" ", " "], "other": [1, 2]})
    with pytest.raises(SourceError, match="every text"):
        run(tmp_path, "sentiment", frame, "fields: {text: review}")


def test_uplift_reports_qini_and_a_verdict(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    age = random.integers(18, 80, 1500)
    arm = random.choice(["Mail", "None", "Phone"], 1500)
    chance = 0.1 + 0.4 * ((arm == "Mail") & (age < 40))
    frame = pd.DataFrame(
        {"age": age, "arm": arm, "visit": (random.random(1500) < chance).astype(int)}
    )
    mapping = (
        "fields: {treatment: arm, outcome: visit}\ntreatment_value: Mail\ncontrol_value: None\n"
    )
    figures, out = run(tmp_path, "uplift", frame, mapping, "--seed", "1")
    assert figures["qini_low"] < figures["qini"] < figures["qini_high"]
    assert figures["verdict"].startswith("Targeting pays")
    assert len(out) == figures["rows"] == int((arm != "Phone").sum())
    young = age[arm != "Phone"] < 40
    assert out["uplift"][young].mean() > out["uplift"][~young].mean() + 0.05


def campaign(rows: int = 900) -> pd.DataFrame:
    random = np.random.default_rng(3)
    arm = random.choice(["mail", "sms", "none"], rows)
    visit = (random.random(rows) < 0.2 + 0.2 * (arm == "mail")).astype(int)
    return pd.DataFrame({"arm": arm, "age": random.integers(18, 80, rows), "visit": visit})


def test_a_third_arm_is_neither_control_nor_forgotten(tmp_path: Path) -> None:
    fields = "fields: {treatment: arm, outcome: visit}\ntreatment_value: mail\n"
    with pytest.raises(SourceError, match=r"none, sms; set `control_value:`"):
        run(tmp_path, "uplift", campaign(), fields)
    figures, out = run(
        tmp_path, "uplift", campaign(), fields + "control_value: none\n", "--folds", "2"
    )
    assert any("rows of other arms (sms) are left out" in note for note in figures["notes"])
    assert figures["rows"] == len(out) == int((campaign()["arm"] != "sms").sum())


def test_where_there_may_be_no_effect_no_share_of_it_is_told(tmp_path: Path) -> None:
    frame = campaign()
    frame["visit"] = np.random.default_rng(4).integers(0, 2, len(frame))
    frame = frame[frame["arm"] != "sms"]
    fields = "fields: {treatment: arm, outcome: visit}\ntreatment_value: mail\n"
    figures, _ = run(tmp_path, "uplift", frame, fields, "--folds", "2")
    assert figures["top_half"] is None
