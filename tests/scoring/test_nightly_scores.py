"""Every score of the chain: trained, kept, scored into a table, and clear about what is missing."""

import json
from datetime import date, timedelta

import duckdb
import numpy as np
import pandas as pd
import pytest

from customer360 import state
from customer360.scoring import nightly
from customer360.scoring.personas import write_last_groups
from customer360.scoring.scores import SCORES, score_named
from customer360.settings import load_settings

AS_OF = date(2026, 1, 31)
HORIZON = 28
TABLES = {
    "churn": ["churn"],
    "value": ["value"],
    "personas": ["personas", "customer_personas"],
    "sentiment": ["sentiment", "text_sentiment"],
    "channels": ["channels"],
}
GOOD = ("师傅很专业，很满意", "质量不错，推荐", "送货很快，下次再买")
BAD = ("客服态度差，再也不来了", "用了三天就坏了，失望", "物流太慢，很生气")


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path))
    return load_settings("tiny")


@pytest.fixture
def engine(settings):
    made = state.engine(settings)
    state.ensure(made)
    return made


@pytest.fixture
def whole(shop):
    """The shop, with touches and texts of its customers."""
    random = np.random.default_rng(1)
    ids = [one for (one,) in shop.execute("select distinct customer_id from orders").fetchall()]
    people = np.array(sorted(ids))
    shop.execute("create schema unify")
    rows = 3000
    responded = random.random(rows) < 0.25
    touches = pd.DataFrame(
        {
            "customer_id": random.choice(people, rows),
            "channel": random.choice(["email", "sms", "wechat"], rows),
            "is_opened": responded,
            "is_clicked": False,
            "is_redeemed": False,
            "sent_on": pd.Timestamp("2025-06-01")
            + pd.to_timedelta(random.integers(0, 200, rows), unit="D"),
        }
    )
    answered = touches["sent_on"] + pd.to_timedelta(random.integers(0, 24, rows), unit="h")
    touches["opened_at"] = answered.where(responded)
    touches["clicked_at"] = pd.NaT
    touches["is_delivered"] = True
    good = random.random(600) < 0.7
    texts = pd.DataFrame(
        {
            "source": "voice",
            "identifier_type": "record",
            "identifier_value": random.choice(people, 600),
            "text_id": [f"t{one}" for one in range(600)],
            "kind": "review",
            "said_at": pd.Timestamp("2025-06-01")
            + pd.to_timedelta(random.integers(0, 200, 600), unit="D"),
            "rating": np.where(random.random(600) < 0.1, np.nan, np.where(good, 5.0, 1.0)),
            "body": np.where(good, random.choice(GOOD, 600), random.choice(BAD, 600)),
        }
    )
    shop.register("given_touches", touches)
    shop.register("given_texts", texts)
    shop.execute(
        """
        create table customers as select distinct customer_id from orders;
        create table campaign_touches as
        select * replace (sent_on::date as sent_on) from given_touches;
        create table unify.union_texts as select * from given_texts;
        create table unify.identify_customers as
        select 'record' as identifier_type, customer_id as identifier_value, customer_id
        from customers;
        """
    )
    return shop


def test_every_model_is_trained_once_and_scores_its_tables(whole, settings, engine):
    given = nightly.Given(whole, AS_OF, HORIZON, zone="Asia/Shanghai")
    told = {}
    for score in SCORES:
        trained = nightly.train_if_needed(settings, engine, score, given)
        assert trained["trained"], (score.name, trained)
        assert not nightly.train_if_needed(settings, engine, score, given)["trained"]
        folder = settings.reports_dir / "models" / trained["model_version"]
        assert (folder / "card.md").is_file()
        assert list(folder.glob("*.png"))
        told[score.name] = nightly.score_into(settings, engine, score, given)
        assert told[score.name]["model_version"] == trained["model_version"]
        first = contents(whole, score.name)
        nightly.score_into(settings, engine, score, given)
        assert contents(whole, score.name) == first
    json.dumps(told)
    nightly.write_runs(whole, "run", AS_OF, told)
    runs = whole.execute("select model, status, scored > 0 from scores.model_runs").fetchall()
    assert sorted(runs) == sorted((score.name, "champion", True) for score in SCORES)
    says_what_it_should(whole)


def contents(connection, name):
    """The rows of a model's tables, whatever their order."""
    return [
        sorted(connection.execute(f"select * from scores.{table}").fetchall(), key=repr)
        for table in TABLES[name]
    ]


def says_what_it_should(connection):
    def ask(sql):
        return connection.execute(sql).fetchall()

    assert ask(
        "select count(*) from scores.value where expected_spend_low_cents > expected_spend_cents "
        "or expected_spend_high_cents < expected_spend_cents or expected_orders < 0"
    ) == [(0,)]
    bought = f"select count(distinct customer_id) from orders where ordered_on <= '{AS_OF}'"
    customers = ask(bought)[0][0]
    assert ask("select count(*) from scores.value") == [(customers,)]
    assert ask("select count(*) from scores.customer_personas") == [(customers,)]
    assert ask("select sum(customers) from scores.personas") == [(customers,)]
    # Everyone, whether or not it has bought, has one best channel, and every channel a chance.
    customers = ask("select count(*) from customers")[0][0]
    assert ask(
        "select count(*), count(distinct customer_id), count(*) filter (is_best) "
        "from scores.channels"
    ) == [(3 * customers, customers, customers)]
    good, bad = ask(
        "select avg(sentiment) filter (rating = 5), avg(sentiment) filter (rating = 1) "
        "from scores.text_sentiment as said join unify.union_texts as texts "
        "on said.text_key = texts.text_id"
    )[0]
    assert good > 0.5 > -0.5 > bad
    assert ask(
        "select count(*) from scores.text_sentiment where delivery_sentiment is not null"
    ) > [(0,)]
    names = {row[0] for row in ask("describe scores.text_sentiment")}
    assert not names & {"body", "text"}  # the words themselves are kept nowhere


def test_a_company_that_has_nothing_gets_empty_tables_and_plain_words(settings, engine):
    with duckdb.connect() as connection:
        connection.execute(
            "create table orders (customer_id varchar, ordered_on date, amount_cents bigint, "
            "quantity bigint); create table customers (customer_id varchar)"
        )
        given = nightly.Given(connection, AS_OF, HORIZON)
        for score in SCORES:
            trained = nightly.train_if_needed(settings, engine, score, given)
            assert not trained["trained"]
            assert trained["note"]
            told = nightly.score_into(settings, engine, score, given)
            assert (told["status"], told["scored"]) == ("fallback", 0)
            for table in TABLES[score.name]:
                assert connection.execute(f"select count(*) from scores.{table}").fetchall() == [
                    (0,)
                ]


def test_a_handful_of_customers_is_scored_by_what_is_assumed(settings, engine):
    with duckdb.connect() as connection:
        connection.execute(
            "create table orders as select 'c' || range as customer_id, date '2026-01-15' + "
            "range::int as ordered_on, 1000 * range as amount_cents, 1 as quantity from range(9)"
        )
        told = nightly.score_into(
            settings, engine, score_named("value"), nightly.Given(connection, AS_OF, HORIZON)
        )
        assert told["model_version"] == "prior"
        assert "nothing has checked it" in told["alarms"][0]
        rows = connection.execute(
            "select min(expected_orders), max(expected_spend_cents), count(*) from scores.value"
        ).fetchone()
        assert rows[0] > 0
        assert 0 < rows[1] < 10_000
        assert rows[2] == 9


def test_texts_without_any_rating_are_scored_by_the_general_model(
    whole, settings, engine, monkeypatch
):
    from customer360.scoring import customer_sentiment

    class General:
        def log_odds(self, texts):
            return np.array([2.0 if "满意" in text else -2.0 for text in texts])

    monkeypatch.setattr(customer_sentiment, "general_model", General)
    whole.execute("update unify.union_texts set rating = null")
    given = nightly.Given(whole, AS_OF, HORIZON)
    score = score_named("sentiment")
    assert "rated texts" in nightly.train_if_needed(settings, engine, score, given)["note"]
    told = nightly.score_into(settings, engine, score, given)
    assert told["model_version"] == "general"
    assert "nothing has checked it" in told["alarms"][0]
    assert told["scored"] > 0


def test_a_channel_that_came_after_the_training_raises_an_alarm(whole, settings, engine):
    score = score_named("channels")
    given = nightly.Given(whole, AS_OF, HORIZON)
    nightly.train_if_needed(settings, engine, score, given)
    whole.execute("update campaign_touches set channel = 'push' where channel = 'email'")
    told = nightly.score_into(settings, engine, score, given)
    assert any("push came after the training" in alarm for alarm in told["alarms"])


def test_who_was_in_a_group_when_it_was_published_keeps_to_it(whole, settings, engine):
    score = score_named("personas")
    given = nightly.Given(whole, AS_OF, HORIZON)
    nightly.train_if_needed(settings, engine, score, given)
    sizes = "select persona, count(*) from scores.customer_personas group by all"
    nightly.score_into(settings, engine, score, given)
    before = dict(whole.execute(sizes).fetchall())
    for name in before:
        whole.execute(
            "create or replace table scores.last_segments as "
            "select customer_id, 'persona' as kind, ? as segment from scores.customer_personas",
            [name],
        )
        nightly.score_into(settings, engine, score, given)
        assert dict(whole.execute(sizes).fetchall())[name] > before[name]
    whole.execute("drop table scores.last_segments")


def test_what_the_last_snapshot_said_is_taken_over_where_it_said_it(tmp_path):
    snapshot = tmp_path / "old.duckdb"
    with duckdb.connect(str(snapshot)) as connection:
        connection.execute(
            "create table customer_value as select 'c1' as customer_id, 'high' as value_tier"
        )
    with duckdb.connect() as connection:
        write_last_groups(connection, snapshot, date(2026, 1, 24))
        rows = connection.execute("from scores.last_segments").fetchall()
        assert rows == [("c1", "value_tier", "high", date(2026, 1, 24))]
        write_last_groups(connection, None, None)
        assert connection.execute("from scores.last_segments").fetchall() == []


def test_an_unknown_model_is_named_with_those_that_there_are():
    from customer360.exceptions import Customer360Error

    with pytest.raises(Customer360Error, match="there are churn, value"):
        score_named("chrn")


@pytest.mark.faults
def test_drift_that_scoring_tells_of_makes_a_training_due_before_the_week_is_over(
    shop, settings, engine
):
    """The steps of the DAGs one after the other: score, ``model_runs``, publish, train."""
    score = score_named("churn")
    first = nightly.train_if_needed(settings, engine, score, nightly.Given(shop, AS_OF, HORIZON))
    later = nightly.Given(shop, AS_OF + timedelta(days=2), HORIZON)
    nightly.write_runs(
        shop,
        "quiet",
        later.as_of,
        {"churn": nightly.score_into(settings, engine, score, later)},
    )
    shop.execute("create view model_runs as from scores.model_runs")
    assert nightly.why_due(settings, engine, score, later) is None
    # Two of three customers stop coming.
    shop.execute("delete from orders where ordered_on > '2025-12-01' and hash(customer_id) % 3 > 0")
    told = nightly.score_into(settings, engine, score, later)
    assert any("has drifted" in alarm for alarm in told["alarms"])
    nightly.write_runs(shop, "drifted", later.as_of, {"churn": told})
    due = nightly.why_due(settings, engine, score, later)
    assert due is not None
    assert due.startswith("drift: churn")
    again = nightly.train_challenger(settings, engine, score, later)
    assert again["model_version"] != first["model_version"]
    assert again["status"] in ("champion", "refused")
    assert nightly.why_due(settings, engine, score, later) is None
