"""What is expected of scores and of the tables that hold them, before they are published."""

from expectations import measures
from expectations.suites import WARN, Suite, at_least, no_result, no_rows, unique


def suites(segments: list[str]) -> list[Suite]:
    """Suites of what is built last; ``segments`` are the names that are declared."""
    names = ", ".join(f"'{name}'" for name in segments) or "''"
    return [
        Suite(
            "main",
            "churn_risk",
            [
                unique("customer_id"),
                no_rows(
                    "A probability is between 0 and 1",
                    "customer_id",
                    "churn_probability is null or churn_probability not between 0 and 1",
                ),
                no_rows("Every score has a reason", "customer_id", "reason_1 is null"),
                no_result(
                    "Every customer with features has a score",
                    "select customer_id from main.customer_features "
                    "where customer_id not in (select customer_id from {batch})",
                ),
                no_result(
                    "Scores tell customers apart",
                    "select 'spread' as what from {batch} having count(*) > 20 "
                    "and count(distinct churn_probability) < 5",
                ),
            ],
        ),
        Suite(
            "main",
            "customer_value",
            [
                unique("customer_id"),
                no_rows(
                    "A forecast lies within its interval",
                    "customer_id",
                    "expected_spend_cents < expected_spend_low_cents "
                    "or expected_spend_cents > expected_spend_high_cents "
                    "or expected_orders < 0 or isnan(expected_orders)",
                ),
                no_result(
                    "Every customer with features has a forecast",
                    "select customer_id from main.customer_features where customer_id not in "
                    "(select customer_id from {batch} where expected_orders is not null)",
                ),
            ],
        ),
        Suite(
            "main",
            "customer_segments",
            [
                unique("customer_id, kind, segment"),
                no_result(
                    "Nobody has two personas",
                    "select customer_id from {batch} where kind = 'persona' "
                    "group by customer_id having count(*) > 1",
                ),
            ],
        ),
        Suite(
            "main",
            "customer_sentiment",
            [
                unique("customer_id"),
                no_rows(
                    "Sentiment lies between -1 and 1",
                    "customer_id",
                    "sentiment_index is null or sentiment_index not between -1 and 1",
                ),
            ],
        ),
        Suite("main", "text_sentiment", [unique("text_key")]),
        Suite(
            "main",
            "channel_preference",
            [
                unique("customer_id, channel"),
                no_rows(
                    "A probability is between 0 and 1",
                    "customer_id, channel",
                    "response_probability is null or response_probability not between 0 and 1",
                ),
                no_result(
                    "Everyone has one best channel",
                    "select customer_id from {batch} group by customer_id "
                    "having count(*) filter (is_best) <> 1",
                ),
            ],
        ),
        Suite("main", "next_best_action", [unique("customer_id")]),
        Suite("main", "campaign_effect", [unique("campaign_key")]),
        Suite("main", "model_runs", [at_least(1, "Models have scored"), unique("model")]),
        Suite(
            "main",
            "customer_360",
            [
                at_least(1, "There are customers"),
                unique("customer_id"),
                no_result(
                    "One row for each customer",
                    "select customer_id from main.customers "
                    "where customer_id not in (select customer_id from {batch})",
                ),
                no_result(
                    "Spend since the first order is the orders' sum, to the cent",
                    "select 'total' as what from "
                    "(select coalesce(sum(spend_total_cents), 0) as cents from {batch}) as wide, "
                    "(select coalesce(sum(amount_cents), 0) as cents "
                    "from main.orders where customer_id in (select customer_id "
                    "from main.customer_features)) as orders where wide.cents <> orders.cents",
                ),
            ],
        ),
        Suite(
            "main",
            "segment_members",
            [
                unique("segment, customer_id"),
                no_result(
                    "Every declared segment has members",
                    f"select name from (select unnest([{names}]) as name) as declared "
                    "where name <> '' and name not in (select segment from {batch})",
                    severity=WARN,
                ),
            ],
        ),
        Suite(
            "main",
            "churn_alerts",
            [
                unique("alert_id"),
                no_rows(
                    "Every alert says why, to whom and what to do",
                    "alert_id",
                    "reason_1 is null or owner = '' or suggested_action = ''",
                ),
            ],
        ),
        *measures.scorecard(),
        Suite("main", "holdouts", [unique("holdout_id")]),
        Suite(
            "main",
            "touch_plan",
            [
                unique("touch_id"),
                no_rows(
                    "A touch is made, or says why not",
                    "touch_id",
                    "is_planned = (held_because is not null)",
                ),
                no_rows(
                    "A touch that is made says how and when",
                    "touch_id",
                    "is_planned and (channel is null or planned_at is null)",
                ),
                no_result(
                    "No marketing reaches who is held out",
                    "select touches.touch_id from {batch} as touches "
                    "inner join main.holdouts as held on touches.customer_id = held.customer_id "
                    "where touches.is_planned and touches.purpose = 'marketing' "
                    "and held.arm = 'control' and held.campaign in ('global', touches.name)",
                ),
            ],
        ),
    ]
