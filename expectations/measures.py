"""What is expected of the measures: they add up to the marts that they are made of."""

from expectations.suites import WARN, Suite, no_result, no_rows, unique


def months() -> list[Suite]:
    """The suite of ``customer_months``, which is built with the marts."""
    return [
        Suite(
            "main",
            "customer_months",
            [
                unique("customer_id, month"),
                no_result(
                    "Months and orders of known customers have the same spend, to the cent",
                    "select 'total' as what from "
                    "(select coalesce(sum(spend_cents), 0) as cents from {batch}) as months, "
                    "(select coalesce(sum(amount_cents), 0) as cents from main.orders "
                    "where customer_id is not null) as orders where months.cents <> orders.cents",
                ),
                no_result(
                    "A customer's months stand without a gap",
                    "select customer_id from {batch} group by customer_id having count(*) <> "
                    "date_diff('month', min(month), max(month)) + 1",
                ),
                no_result(
                    "A customer is new in one month",
                    "select customer_id from {batch} group by customer_id "
                    "having sum(case when is_new then 1 else 0 end) > 1",
                ),
                no_rows(
                    "Who is active has bought",
                    "customer_id, month",
                    "is_active and orders_to_date < 1",
                ),
            ],
        )
    ]


def scorecard() -> list[Suite]:
    """The suite of ``kpi_scorecard``, which is built last."""
    return [
        Suite(
            "main",
            "kpi_scorecard",
            [
                unique("month, measure"),
                no_rows(
                    "A share is between 0 and 1",
                    "month, measure",
                    "unit = 'share' and value not between 0 and 1",
                ),
                no_rows(
                    "No time is negative",
                    "month, measure",
                    "unit in ('days', 'minutes') and value < 0",
                    severity=WARN,
                ),
                no_result(
                    "Orders of all months are the orders of known customers",
                    "select 'total' as what from "
                    "(select coalesce(sum(numerator), 0) as orders from {batch} "
                    "where measure = 'orders') as scorecard, "
                    "(select count(*) as orders from main.orders where customer_id is not null "
                    "and amount_cents >= 0) as marts where scorecard.orders <> marts.orders",
                ),
            ],
        ),
    ]
