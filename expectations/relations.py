"""What is expected between layers: what went in is what came out, to the row and to the cent.

Two kinds, with two severities. What we lose between our own layers stops the run. Where a source
disagrees with itself (lines without their receipt, since the receipts' file is late), the run goes
on with a warning, because the rest of the day is good.
"""

from dataclasses import dataclass

import great_expectations.expectations as gxe

from expectations.suites import WARN, Suite, no_result


@dataclass(frozen=True)
class Fact:
    """An entity whose rows a mart keeps one by one.

    Attributes:
        sums: columns that are added up on both sides.
        kept: condition of the rows of the entity that the mart keeps.
    """

    mart: str
    sums: tuple[str, ...] = ()
    kept: str = "true"


FACTS = {
    "order_lines": Fact(
        "order_lines", ("amount_cents", "discount_cents"), "not coalesce(is_cancelled, false)"
    ),
    "returns": Fact("returns", ("refund_cents",)),
    "products": Fact("products"),
    "stores": Fact("stores"),
    "leads": Fact("leads", ("budget_cents",)),
    "deals": Fact("deals", ("amount_cents",)),
    "service_cases": Fact("service_cases", ("satisfaction",)),
    "installed_products": Fact("installed_products"),
    "repairs": Fact("repairs", ("labour_cents", "parts_cents")),
    "loyalty_accounts": Fact("loyalty_accounts", ("points_balance",)),
    "loyalty_transactions": Fact("loyalty_transactions", ("points",)),
    "feedback": Fact("feedback", ("stars", "nps", "csat")),
}
"""Entity (of macros/entities.sql) -> the mart that has a row for each of its rows."""

TIMELINE = {
    "order": "select count(*) from main.orders where not is_anonymous",
    "campaign": "select count(*) from main.campaign_touches where customer_id is not null",
    "coupon": "select count(*) from main.coupon_redemptions where customer_id is not null",
    "case": "select count(*) from main.service_cases where customer_id is not null",
    "repair": (
        "select count(*) from main.repairs where customer_id is not null and visited_on is not null"
    ),
    "install": (
        "select count(*) from main.installed_products "
        "where customer_id is not null and installed_on is not null"
    ),
    "points": "select count(*) from main.loyalty_transactions where customer_id is not null",
    "feedback": "select count(*) from main.feedback where customer_id is not null",
}
"""First part of touchpoint_id -> how many touches of that kind their mart holds."""


@dataclass(frozen=True)
class Total:
    """A sum that a source's table and a mart must agree on (``total`` in sources.yml).

    Attributes:
        state: SQL of the table's rows as they stood at the end of the day.
        value: SQL of what is added up, in the mart's unit.
        mart, column: where the same sum stands.
    """

    source: str
    table: str
    state: str
    value: str
    where: str
    mart: str
    column: str


def suites(feeds: dict[str, list[str]], totals: list[Total]) -> list[Suite]:
    """A suite for each mart of facts, one for the timeline.

    Args:
        feeds: entity -> names of the staging models that feed it.
        totals: sums that are declared for this company's sources.
    """
    found = []
    for entity, fact in FACTS.items():
        expectations = [_nothing_lost(entity, fact)] if feeds.get(entity) else []
        expectations += [_agrees(total) for total in totals if total.mart == fact.mart]
        if expectations:
            found.append(Suite("main", fact.mart, expectations))
    found.append(
        Suite(
            "main",
            "customer_touchpoints",
            [
                no_result(
                    f"The timeline holds every {prefix} of the marts once",
                    f"select '{prefix}' as what from (select count(*) as rows from {{batch}} "
                    f"where touchpoint_id like '{prefix}-%') as timeline, "
                    f"({counted.replace('count(*)', 'count(*) as rows', 1)}) as facts "
                    "where timeline.rows <> facts.rows",
                )
                for prefix, counted in TIMELINE.items()
            ],
        )
    )
    return found


def _nothing_lost(entity: str, fact: Fact) -> gxe.UnexpectedRowsExpectation:
    """Rows and sums a source are the same in the union of the staging models and in the mart."""
    sums = ["count(*) as rows", *(f"coalesce(sum({name}), 0) as {name}" for name in fact.sums)]
    differs = " or ".join(
        f"fed.{name} is distinct from kept.{name}" for name in ("rows", *fact.sums)
    )
    said = " and the sums of ".join(["Rows", ", ".join(fact.sums)] if fact.sums else ["Rows"])
    return no_result(
        f"{said} are what staging fed, source by source",
        f"select coalesce(fed.source, kept.source) as source from "
        f"(select source, {', '.join(sums)} from workspace.unify.union_{entity} where {fact.kept} "
        f"group by source) as fed full join "
        f"(select source, {', '.join(sums)} from {{batch}} group by source) as kept "
        f"on fed.source = kept.source where {differs}",
    )


def _agrees(total: Total) -> gxe.UnexpectedRowsExpectation:
    return no_result(
        f"{total.column} of {total.source} is the sum of its {total.table}, to the cent",
        "select 'total' as what from "
        f"(select coalesce(sum({total.value}), 0) as summed from ({total.state}) as stood "
        f"where {total.where}) as read, "
        f"(select coalesce(sum({total.column}), 0) as summed from {{batch}} "
        f"where source = '{total.source}') as kept where round(read.summed) <> kept.summed",
        severity=WARN,
    )
