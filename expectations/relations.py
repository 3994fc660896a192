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
        held: SQL of the kept rows, where they are more than the mart's own.
    """

    mart: str
    sums: tuple[str, ...] = ()
    kept: str = "true"
    held: str = "{batch}"


FACTS = {
    "order_lines": Fact(
        "order_lines",
        ("amount_cents",),
        "not coalesce(is_cancelled, false)",
        # What could not be taken is told in order_exceptions, in its own currency.
        "(select source, original_amount_cents as amount_cents from {batch} union all "
        "select source, original_amount_cents from main.order_exceptions "
        "where not is_kept and order_line_id is not null) as lines",
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
    "feedback": Fact("feedback", ("stars",)),
    "survey_responses": Fact("survey_responses", ("nps", "csat")),
    "case_messages": Fact("case_messages"),
    "carts": Fact("carts"),
    "acquisition_costs": Fact("acquisition_costs", ("cost_cents", "new_customers")),
}
"""Entity (of macros/entities.sql) -> the mart that has a row for each of its rows."""


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
    """A suite for each mart of facts.

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
        f"(select source, {', '.join(sums)} from {fact.held} group by source) as kept "
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
