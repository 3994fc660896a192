"""What is expected of the marts before anything is scored."""

from expectations import measures, relations
from expectations.suites import WARN, Suite, at_least, no_result, no_rows, unique


def suites(feeds: dict[str, list[str]], as_of: str, totals: list[relations.Total]) -> list[Suite]:
    """Suites of the marts, of what lies before them and of the measures behind them.

    Args:
        feeds: entity -> names of the staging models that feed it.
        as_of: the run's day, ISO.
        totals: sums that sources and marts must agree on.
    """
    return [
        *_staging(feeds),
        *_identity(),
        *_marts(feeds, as_of),
        *relations.suites(feeds, totals),
        *measures.suites(),
    ]


def _staging(feeds: dict[str, list[str]]) -> list[Suite]:
    """What staging made of the sources; it stands in the run's workspace, not in the marts file.

    Great Expectations wants every query to name the table that it is about.
    """
    found = []
    if feeds.get("person_records"):
        found.append(
            Suite(
                "main",
                "customers",
                [
                    no_result(
                        "staging: a record stands once",
                        "select source, record_id from workspace.unify.union_person_records "
                        "where (select count(*) from {batch}) >= 0 "
                        "group by source, record_id having count(*) > 1",
                    )
                ],
            )
        )
    if feeds.get("order_lines"):
        lines = (
            "select source, order_id, line_id from workspace.unify.union_order_lines "
            "where (select count(*) from {batch}) >= 0"
        )
        found.append(
            Suite(
                "main",
                "order_lines",
                [
                    no_result(
                        "staging: a line stands once",
                        f"{lines} group by source, order_id, line_id having count(*) > 1",
                    ),
                    no_result(
                        "staging: every line has its order and its amount",
                        f"{lines} and "
                        "(order_id is null or line_id is null or amount_cents is null)",
                    ),
                ],
            )
        )
    return found


def _identity() -> list[Suite]:
    return [
        Suite(
            "main",
            "customer_identifiers",
            [
                no_result(
                    "Every identifier that holds is of a customer",
                    "select distinct customer_id from {batch} where learned_to is null "
                    "and customer_id not in (select customer_id from main.customers)",
                )
            ],
        ),
        Suite(
            "main",
            "customer_id_map",
            [
                unique("old_id, new_id"),
                no_rows("No id leads to itself", "old_id", "old_id = new_id"),
                no_result(
                    "Every past id leads to a customer of today",
                    "select old_id from {batch} "
                    "where new_id not in (select customer_id from main.customers)",
                    severity=WARN,
                ),
            ],
        ),
    ]


def _marts(feeds: dict[str, list[str]], as_of: str) -> list[Suite]:
    return [
        Suite(
            "main",
            "customers",
            [
                at_least(1, "There are customers"),
                unique("customer_id"),
                no_result(
                    "Every record is of one customer",
                    "select source from (select records.source, count(customers.customer_id) as "
                    "owners from workspace.unify.union_person_records as records "
                    "left join workspace.unify.customer_records as found using (record_id) "
                    "left join {batch} as customers using (customer_id) "
                    "where not coalesce(records.is_deleted, false) "
                    "group by records.source, records.record_id) where owners <> 1 group by source",
                ),
            ],
        ),
        Suite(
            "main",
            "order_lines",
            [
                at_least(1 if feeds.get("order_lines") else 0, "There are order lines"),
                unique("order_line_id"),
                no_rows(
                    "Every line that says who bought has a customer",
                    "order_line_id",
                    "customer_id is null and not is_anonymous",
                ),
                no_rows(
                    "No line is later than the as-of day",
                    "order_line_id",
                    f"ordered_on > date '{as_of}'",
                ),
                no_result(
                    "An order has one customer, one currency and one moment",
                    "select order_id from {batch} group by order_id "
                    "having count(distinct customer_id) > 1 or count(distinct currency) > 1 "
                    "or count(distinct ordered_at) > 1",
                    severity=WARN,
                ),
            ],
        ),
        Suite(
            "main",
            "orders",
            [
                unique("order_id"),
                no_rows(
                    "Every order has a customer or is flagged as anonymous",
                    "order_id",
                    "customer_id is null and not is_anonymous",
                ),
                no_result(
                    "Orders and their lines have the same sum",
                    "select 'total' as what from "
                    "(select coalesce(sum(amount_cents), 0) as cents from {batch} "
                    "where lines > 0) as orders, "
                    "(select coalesce(sum(amount_cents), 0) as cents "
                    "from main.order_lines) as lines "
                    "where orders.cents <> lines.cents",
                ),
            ],
        ),
        Suite(
            "main",
            "customer_touchpoints",
            [
                unique("touchpoint_id"),
                no_rows("Every touch has a customer", "touchpoint_id", "customer_id is null"),
            ],
        ),
        Suite(
            "main",
            "timeline_coverage",
            [
                no_rows(
                    "The timeline holds every touch of somebody",
                    "coverage_key",
                    "rows_held <> touchpoints + of_nobody + no_touches",
                ),
            ],
        ),
        Suite(
            "main",
            "order_exceptions",
            [
                no_rows(
                    "No order or line had to be set aside or marked",
                    "exception_key",
                    "true",
                    severity=WARN,
                ),
            ],
        ),
        Suite(
            "main",
            "customer_features",
            [
                unique("customer_id"),
                no_rows("Recency is not negative", "customer_id", "recency_days < 0"),
                no_result(
                    "Every customer who has bought has features",
                    "select distinct customer_id from main.orders where amount_cents >= 0 "
                    "and customer_id not in (select customer_id from {batch})",
                ),
            ],
        ),
    ]
