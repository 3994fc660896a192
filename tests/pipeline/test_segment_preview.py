"""What the rules of audiences.yml would find, counted before a run takes them."""

import datetime as dt
import json

import duckdb
import pytest
from click.testing import CliRunner

from customer360 import segment_commands
from customer360.config import load_config
from customer360.exceptions import ConfigError
from customer360.segment_commands import segment


@pytest.fixture
def snapshot(company, tmp_path, monkeypatch):
    path = tmp_path / "published.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "create table customer_360 as select * from (values "
            "('c1', date '2017-10-29', 'high', 0.9, 5, 1), "
            "('c2', date '2017-10-29', 'low', 0.9, 100, 9), "
            "('c3', date '2017-10-29', 'high', null, 100, 9), "
            "('c4', date '2017-10-29', 'low', 0.1, 5, 9)) as rows(customer_id, as_of, value_tier, "
            "churn_probability, days_since_last_order, orders_total)"
        )
    monkeypatch.setattr(segment_commands, "snapshot_path", lambda _: path)
    audiences = company.config["audiences"]
    audiences["segments"] = {
        "rich": {"description": "d", "owner": "o", "rule": "value_tier = 'high'"},
        "away": {"description": "d", "owner": "o", "rule": "days_since_last_order > 91"},
    }
    audiences["next_best_actions"] = {
        "call": {
            "description": "d", "owner": "o", "rule": "churn_probability > 0.5", "action": "Call",
        },
        "thank": {
            "description": "d", "owner": "o", "rule": "value_tier = 'high'", "action": "Thank",
        },
    }  # fmt: skip
    company.write()
    return company


def test_sizes_overlaps_and_the_first_action_are_told(snapshot):
    done = CliRunner().invoke(segment, ["preview", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["customers"], found["as_of"]) == (4, str(dt.date(2017, 10, 29)))
    assert {one["name"]: one["size"] for one in found["segments"]} == {"rich": 2, "away": 2}
    assert found["overlaps"] == [
        {"a": "rich", "b": "away", "size": 1, "share_of_a": 0.5, "share_of_b": 0.5}
    ]
    assert found["in_none"] == 1
    actions = {one["name"]: (one["size"], one["first"]) for one in found["next_best_actions"]}
    assert actions == {"call": (2, 2), "thank": (2, 1)}
    text = CliRunner().invoke(segment, ["preview"]).output
    assert "1 are in both rich and away: 50% of the one" in text


def test_one_rule_can_be_asked_for_and_an_unknown_one_is_refused(snapshot):
    found = json.loads(CliRunner().invoke(segment, ["preview", "rich", "--json"]).stdout)
    assert [one["name"] for one in found["segments"]] == ["rich"]
    assert found["next_best_actions"] == []
    done = CliRunner().invoke(segment, ["preview", "poor"])
    assert done.exit_code != 0
    assert "no segment poor; it has rich, away" in done.output


def test_an_action_whose_rule_names_no_column_is_refused_before_anything_runs(snapshot):
    from customer360.transform import check_rules

    actions = snapshot.config["audiences"]["next_best_actions"]
    actions["call"]["rule"] = "churn_probabilty > 0.5"
    snapshot.write()
    with pytest.raises(ConfigError, match=r"next_best_actions.call.*did you mean churn_probab"):
        check_rules(load_config(snapshot.settings))
