"""``customer360 score churn`` on files, as a user calls it."""

import json

import pandas as pd
import pytest
from click.testing import CliRunner

from customer360.exceptions import ConfigError, Customer360Error, SourceError
from customer360.scoring.commands import score

MAPPING = "fields: {customer_id: who, on: day, amount: euros}\n"


@pytest.fixture
def files(tmp_path, shop_orders, monkeypatch):
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path / "data"))
    lines = pd.DataFrame(
        {
            "who": shop_orders["customer_id"],
            "day": shop_orders["ordered_on"].dt.strftime("%Y-%m-%d"),
            "euros": shop_orders["amount_cents"] / 100,
        }
    )
    lines.to_csv(tmp_path / "orders.csv", index=False)
    (tmp_path / "orders.yml").write_text(MAPPING, encoding="utf-8")
    return tmp_path


def call(files, *options):
    arguments = [
        "churn", str(files / "orders.csv"), "--mapping", str(files / "orders.yml"),
        "--out", str(files / "out.csv"), *options,
    ]  # fmt: skip
    return CliRunner().invoke(score, arguments, catch_exceptions=True)


def test_scores_card_and_one_json_object(files):
    done = call(files, "--as-of", "2026-01-31", "--horizon-days", "28", "--json")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert figures["checked"]
    assert figures["report_window"]["auc"] > 0.75
    assert set(figures["auc_by_score"]) >= {"recency", "13-week frequency", "last period"}
    out = pd.read_csv(files / "out.csv", dtype={"customer_id": str})
    assert list(out.columns[:1]) == ["customer_id"]
    assert {"churn_probability", "reason_1", "reason_2", "reason_3"} <= set(out.columns)
    assert len(out) == figures["customers"] == out["customer_id"].nunique()
    assert out["churn_probability"].between(0, 1).all()
    assert out["reason_1"].notna().all()
    assert (files / "out-card" / "card.md").is_file()
    assert (files / "out-card" / "calibration.png").is_file()


def test_rows_after_the_date_change_nothing_but_a_note(files):
    options = ("--as-of", "2025-12-31", "--horizon-days", "28", "--json")
    full = json.loads(call(files, *options).stdout)
    with_future = (files / "out.csv").read_text()
    lines = pd.read_csv(files / "orders.csv")
    lines[lines["day"] <= "2025-12-31"].to_csv(files / "orders.csv", index=False)
    past = json.loads(call(files, *options).stdout)
    assert (files / "out.csv").read_text() == with_future
    assert "are the future" in full["notes"][0]
    assert past["notes"] == []


def test_a_short_history_is_scored_and_said(files):
    done = call(files, "--as-of", "2025-06-30", "--horizon-days", "90", "--json")
    figures = json.loads(done.stdout)
    assert not figures["checked"]
    assert figures["chosen"] == "buy till you die"
    assert "nothing has checked it" in figures["notes"][-1]
    card = (files / "out-card" / "card.md").read_text()
    assert "Nothing has checked these probabilities" in card


@pytest.mark.parametrize(
    ("mapping", "options", "error", "message"),
    [
        (MAPPING, ("--as-of", "2020-01-01"), SourceError, "no orders until 2020-01-01"),
        ("fields: {customer_id: who, on: day}", ("--as-of", "2026-01-31"), ConfigError, "amount"),
        ("fields: {customer_id: nobody, on: day, amount: euros}", ("--as-of", "2026-01-31"),
         SourceError, "no column `nobody`"),
    ],
)  # fmt: skip
def test_mistakes_are_named(files, mapping, options, error, message):
    (files / "orders.yml").write_text(mapping, encoding="utf-8")
    done = call(files, *options)
    assert isinstance(done.exception, error | Customer360Error)
    assert message in str(done.exception)


def test_a_date_that_is_none_is_refused_by_the_command(files):
    done = call(files, "--as-of", "yesterday")
    assert done.exit_code == 2
