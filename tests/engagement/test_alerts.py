"""Churn alerts: raised once, kept while they last, believed when answered."""

import datetime as dt

import pytest

from tests.engagement.conftest import DAY


def later(days):
    return DAY + dt.timedelta(days=days)


@pytest.fixture
def shop(desk):
    desk.put("customer_360",
             {"customer_id": "c1", "value_tier": "high", "churn_probability": 0.7,
              "last_order_on": "2026-01-01", "value_at_risk_cents": 5000},
             {"customer_id": "c2", "value_tier": "high", "churn_probability": 0.4},
             {"customer_id": "c3", "value_tier": "low", "churn_probability": 0.9})  # fmt: skip
    desk.put("churn_risk", *({"customer_id": f"c{n}", "reason_1": "away"} for n in (1, 2, 3)))
    return desk


def answer(desk, alert_id, word, day):
    desk.put("alert_answers", {"alert_id": alert_id, "answer": word,
                               "answered_at": f"{day} 09:00:00", "answered_on": day})  # fmt: skip


def grow(desk, probability):
    desk.connection.execute(
        "update main.customer_360 set churn_probability = ? where customer_id = 'c1'", [probability]
    )


def test_an_alert_needs_a_tier_that_is_worth_it_and_a_risk_over_the_line(shop):
    ((customer, alert_id, raised_on, is_new),) = shop.alert()
    assert (customer, raised_on, is_new) == ("c1", DAY, True)
    assert shop.alert() == [("c1", alert_id, DAY, True)]  # the same day again: the same content
    told = shop.ask("select owner, suggested_action, reason_1, expires_on - raised_on "
                    "from engagement.churn_alerts")  # fmt: skip
    assert told == [("key-accounts", "call", "away", 20)]


def test_it_keeps_its_id_while_it_lasts_and_is_not_repeated_too_soon(shop):
    ((_, first, _, _),) = shop.alert()
    assert shop.alert(later(5)) == [("c1", first, DAY, False)]
    assert shop.alert(later(21)) == []  # expired
    grow(shop, 0.81)
    ((_, worse, raised_on, _),) = shop.alert(later(22))
    assert (worse != first, raised_on) == (True, later(22))
    assert shop.alert(later(60)) == []
    ((_, again, _, is_new),) = shop.alert(later(83))
    assert is_new
    assert again not in (first, worse)


def test_answers_are_believed_and_counted(shop):
    ((_, alert_id, _, _),) = shop.alert()
    answer(shop, alert_id, "later", later(1))
    assert shop.alert(later(2)) == []
    assert shop.alert(later(8)) == [("c1", alert_id, DAY, False)]
    answer(shop, alert_id, "wrong", later(9))
    grow(shop, 0.95)
    assert shop.alert(later(70)) == []
    assert shop.ask("select raised, answered, done, wrong from engagement.alert_adoption") == [
        (1, 1, 0, 1)
    ]
    assert len(shop.alert(later(200))) == 1


def test_a_purchase_ends_an_alert_and_an_alert_follows_a_merged_customer(shop):
    ((_, alert_id, _, _),) = shop.alert()
    shop.put("customer_id_map", {"old_id": "c1", "new_id": "c9", "reason": "merge"})
    shop.connection.execute(
        "update main.customer_360 set customer_id = 'c9' where customer_id = 'c1'"
    )
    shop.connection.execute(
        "update main.churn_risk set customer_id = 'c9' where customer_id = 'c1'"
    )
    assert shop.alert(later(1)) == [("c9", alert_id, DAY, False)]
    shop.connection.execute(
        "update main.customer_360 set last_order_on = ? where customer_id = 'c9'", [later(2)]
    )
    assert shop.alert(later(3)) == []


def test_what_was_never_published_is_not_held_against_a_customer(shop):
    memory = shop.memory()
    from sqlalchemy import update

    from customer360 import state
    from customer360.engagement import alerts

    memory.keep([alerts.raise_alerts(shop.connection, shop.audiences, memory)])
    with shop.engine.begin() as connection:
        connection.execute(update(state.runs).values(snapshot=None))
    assert shop.alert(later(1))[0][2:] == (later(1), True)
