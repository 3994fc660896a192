"""What is expected of the marts before anything is scored."""

from expectations.suites import WARN, Suite, at_least, no_result, no_rows, unique


def suites(feeds: dict[str, list[str]], as_of: str) -> list[Suite]:
    """Suites of the marts.

    Args:
        feeds: entity -> names of the staging models that feed it.
        as_of: the run's day, ISO.
    """
    order_totals = [
        no_result(
            f"{model}: lines and sums agree with the mart to the cent",
            "select 'total' as what from "
            f"(select count(*) as rows, coalesce(sum(amount_cents), 0) as cents "
            f"from workspace.unify.union_order_lines where source = '{_source(model)}' "
            "and not coalesce(is_cancelled, false)) as fed, "
            "(select count(*) as rows, coalesce(sum(amount_cents), 0) as cents from {batch} "
            f"where source = '{_source(model)}') as kept "
            "where fed.rows <> kept.rows or fed.cents <> kept.cents",
        )
        for model in feeds.get("order_lines", [])
    ]
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
                    "What came back costs less than nothing",
                    "order_line_id",
                    "quantity < 0 and amount_cents > 0",
                ),
                no_rows(
                    "No line is later than the as-of day",
                    "order_line_id",
                    f"ordered_on > date '{as_of}'",
                ),
                no_rows(
                    "A line costs less than 100,000",
                    "order_line_id",
                    "amount_cents > 10000000",
                    severity=WARN,
                ),
                no_result(
                    "An order has one customer, one currency and one moment",
                    "select order_id from {batch} group by order_id "
                    "having count(distinct customer_id) > 1 or count(distinct currency) > 1 "
                    "or count(distinct ordered_at) > 1",
                    severity=WARN,
                ),
                *order_totals,
            ],
        ),
        Suite(
            "main",
            "orders",
            [
                unique("order_id"),
                no_result(
                    "Orders and their lines have the same sum",
                    "select 'total' as what from "
                    "(select coalesce(sum(amount_cents), 0) as cents from {batch}) as orders, "
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
                no_result(
                    "The timeline holds every order, campaign and coupon",
                    "select kind from (select kind, count(*) as rows from {batch} group by kind) "
                    "as timeline right join (select 'purchase' as kind, count(*) as rows "
                    "from main.orders where not is_anonymous union all select 'campaign', count(*) "
                    "from main.campaign_touches union all select 'coupon', count(*) "
                    "from main.coupon_redemptions) as facts using (kind) "
                    "where coalesce(timeline.rows, 0) <> coalesce(facts.rows, 0)",
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


def _source(model: str) -> str:
    return model.removeprefix("stg_").partition("__")[0]
