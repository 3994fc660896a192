"""Who gets which new lead: by region, product, skill and load, fair over time, and explained.

What belongs here: the score of a person for a lead, and one assignment after the other. What does
not: who works here (``sales_people``) and what leads are worth (``leads``).

A lead that was assigned stays with its person while that one is active: the memory and the CRM's
own assignment both count. New leads are given out in order of their value; each goes to the highest
score, and each assignment raises the load that the next one sees, so that nobody is flooded. Of
equal scores the one with the fewest leads in the window wins, then the number of the person.
"""

import datetime as dt
from typing import Any

import duckdb
import pyarrow as pa

from customer360.engagement.config import LeadRules
from customer360.engagement.memory import DECISION_SCHEMA, Memory
from customer360.engagement.tables import day, rows_of
from customer360.warehouse import literal

KIND = "lead"
TABLE = "engagement.lead_assignments"
ALL_PRODUCTS = "全品类"
"""The product line of somebody who sells all of them."""

_SCHEMA = pa.schema(
    [
        ("lead_key", pa.string()),
        ("customer_id", pa.string()),
        ("sales_id", pa.string()),
        ("assigned_on", pa.date32()),
        ("is_new", pa.bool_()),
        ("score", pa.float64()),
        ("value_cents", pa.int64()),
        ("reason", pa.string()),
    ]
)


def assign_leads(
    connection: duckdb.DuckDBPyConnection, rules: LeadRules, memory: Memory, as_of: dt.date
) -> pa.Table:
    """Write ``engagement.lead_assignments``: a row a lead that is open and new.

    Returns:
        The leads that are assigned today, for the memory.
    """
    leads = rows_of(
        connection,
        "leads",
        lead_key="varchar",
        customer_id="varchar",
        province_code="varchar",
        product_line="varchar",
        budget_cents="bigint",
        status="varchar",
        sales_id="varchar",
        created_at="timestamp",
        first_contact_at="timestamp",
        converted_at="timestamp",
    )
    people = rows_of(
        connection,
        "sales_people",
        sales_id="varchar",
        province_code="varchar",
        product_line="varchar",
        is_active="boolean",
    )
    connection.register("leads_known", memory.recall(KIND))
    staff = _dicts(
        connection,
        f"""
        with history as (
            select
                sales_id,
                count(*) filter (where status in ('new', 'contacted')) as open_leads,
                count(*) filter (
                    where cast(created_at as date) > {day(as_of)} - {rules.fair_over_days}
                ) as recent,
                count(converted_at) as won,
                count(*) as had
            from {leads} as leads
            where sales_id is not null
            group by sales_id
        ),

        mean as (select sum(won) / greatest(1, sum(had)) as rate from history)

        select
            people.sales_id,
            people.province_code,
            people.product_line,
            coalesce(history.open_leads, 0) as open_leads,
            coalesce(history.recent, 0) as recent,
            -- shrunk to the mean: a beginner is neither the best nor the worst
            (coalesce(history.won, 0) + 10 * coalesce(mean.rate, 0.2))
            / (coalesce(history.had, 0) + 10) as win_rate
        from {people} as people
        left join history on people.sales_id = history.sales_id
        cross join mean
        where people.is_active
        order by people.sales_id
        """,
    )
    waiting = _dicts(
        connection,
        f"""
        select
            leads.lead_key,
            leads.customer_id,
            leads.province_code,
            leads.product_line,
            coalesce(leads.budget_cents, 0) as value_cents,
            leads.sales_id as crm_sales_id,
            known.owner as kept_sales_id,
            known.decided_on as kept_on,
            known.score as kept_score
        from {leads} as leads
        left join leads_known as known on leads.lead_key = known.decision_id
        where leads.status = 'new' and leads.first_contact_at is null
        order by value_cents desc, leads.lead_key
        """,
    )
    connection.unregister("leads_known")
    rows = share_out(waiting, staff, rules, as_of)
    table = pa.Table.from_pylist(rows, _SCHEMA)
    connection.register("leads_assigned", table)
    connection.execute(f"create or replace table {TABLE} as from leads_assigned")
    made = connection.execute(
        f"""
        select
            {literal(KIND)} as kind,
            lead_key as decision_id,
            lead_key as subject_id,
            'lead' as name,
            cast(null as varchar) as channel,
            assigned_on as decided_on,
            cast(null as date) as until_on,
            cast(null as date) as since_on,
            score,
            sales_id as owner
        from leads_assigned
        where is_new
        order by lead_key
        """
    ).to_arrow_table()
    connection.unregister("leads_assigned")
    return made.cast(DECISION_SCHEMA)


def _dicts(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    return connection.execute(query).to_arrow_table().to_pylist()


def share_out(
    waiting: list[dict[str, Any]], staff: list[dict[str, Any]], rules: LeadRules, as_of: dt.date
) -> list[dict[str, Any]]:
    """Each waiting lead with its person, the most valuable first."""
    people = {person["sales_id"]: {**person} for person in staff}
    rows = []
    for lead in waiting:
        kept = lead["kept_sales_id"] or lead["crm_sales_id"]
        if kept in people:
            rows.append(
                _row(lead, kept, lead["kept_on"] or as_of, lead["kept_score"],
                     "stays with the person who has it", is_new=False)
            )  # fmt: skip
            continue
        free = [each for each in people.values() if each["open_leads"] < rules.max_open]
        if not free:
            rows.append(_row(lead, None, as_of, None, "nobody is free: all have "
                             f"{rules.max_open} open leads", is_new=False))  # fmt: skip
            continue
        scored = [(_score(lead, person, rules), person) for person in free]
        (score, why), person = max(
            scored, key=lambda each: (each[0][0], -each[1]["recent"], str(each[1]["sales_id"]))
        )
        person["open_leads"] += 1
        person["recent"] += 1
        rows.append(_row(lead, person["sales_id"], as_of, score, why, is_new=True))
    return rows


def _row(
    lead: dict[str, Any],
    sales_id: str | None,
    assigned_on: dt.date,
    score: float | None,
    reason: str,
    *,
    is_new: bool,
) -> dict[str, Any]:
    return {
        "lead_key": lead["lead_key"],
        "customer_id": lead["customer_id"],
        "sales_id": sales_id,
        "assigned_on": assigned_on,
        "is_new": is_new,
        "score": score,
        "value_cents": lead["value_cents"],
        "reason": reason,
    }


def _score(lead: dict[str, Any], person: dict[str, Any], rules: LeadRules) -> tuple[float, str]:
    """How well a person fits a lead, and why in words."""
    weights = rules.weights
    parts: list[str] = []
    score = 0.0
    if lead["province_code"] and lead["province_code"] == person["province_code"]:
        score += weights.region
        parts.append("sells in the region")
    if lead["product_line"] and lead["product_line"] == person["product_line"]:
        score += weights.product
        parts.append(f"sells {lead['product_line']}")
    elif ALL_PRODUCTS in (lead["product_line"], person["product_line"]):
        score += weights.product / 2
        parts.append("product lines overlap")
    skill = 3.0 if lead["value_cents"] >= rules.high_value * 100 else 1.0
    score += skill * weights.skill * person["win_rate"]
    parts.append(f"wins {person['win_rate']:.0%}")
    share = (person["open_leads"] + person["recent"]) / rules.max_open
    score -= weights.load * share
    parts.append(f"has {person['open_leads']} open leads")
    return round(score, 6), ", ".join(parts)
