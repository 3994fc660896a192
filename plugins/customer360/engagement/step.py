"""The engagement step of a run: every rule in its order, on the work file of the run.

What belongs here: the order, and what is remembered. What does not: the rules themselves.
"""

import datetime as dt
from typing import Any

import duckdb
from sqlalchemy import Engine

from customer360.config import Config
from customer360.engagement import (
    alerts,
    candidates,
    care,
    holdouts,
    leads,
    people,
    plan,
    service_warnings,
    tickets,
    triggers,
)
from customer360.engagement.config import Engagement
from customer360.engagement.memory import Memory
from customer360.warehouse import literal

SCHEMA = "engagement"


def engage(
    connection: duckdb.DuckDBPyConnection,
    engine: Engine,
    config: Config,
    rules: Engagement,
    as_of: dt.date,
    run_id: str,
) -> dict[str, Any]:
    """Decide what to do for whom on the day after ``as_of``; write schema ``engagement``.

    Hold-outs and decisions are in the decision state when this returns, so before anything is
    published or sent.

    Returns:
        Counts, for the step's record.
    """
    memory = Memory(engine, run_id, as_of)
    plan_on = as_of + dt.timedelta(days=1)
    connection.execute(f"create schema if not exists {SCHEMA}")
    connection.execute(f"set variable engagement_as_of = date {literal(str(as_of))}")
    raised = alerts.raise_alerts(connection, config.audiences, memory)
    candidates.begin(connection)
    candidates.add_campaigns(connection, rules, plan_on)
    candidates.add_alerts(connection, rules, config.audiences)
    care.plan_care(connection, rules, plan_on, config.sources.time_zone)
    fired = triggers.fire(connection, rules, memory, config.sources.day_end(as_of), plan_on)
    holdouts.assign(
        connection,
        rules,
        memory,
        f"(select name as campaign, customer_id from {candidates.TABLE})",
    )
    people.remember_touches(connection, memory, plan_on, rules.longest_window)
    people.gather(connection, rules, plan_on)
    planned = plan.plan_touches(connection, rules, as_of, plan_on, config.sources.time_zone)
    cutoff = config.sources.day_end(as_of)
    service_warnings.warn(connection, rules.service, cutoff, as_of)
    tickets.suggest(connection, rules.service, as_of)
    assigned = leads.assign_leads(connection, rules.leads, memory, as_of)
    memory.keep([raised, fired, planned.made, assigned])
    return {
        "alerts": _count(connection, "churn_alerts"),
        "new_alerts": len(raised),
        "care_tasks": _count(connection, "care_tasks"),
        "new_triggers": len(fired),
        "service_warnings": _count(connection, "service_warnings"),
        "ticket_suggestions": _count(connection, "ticket_suggestions"),
        "new_leads": len(assigned),
        "touches": _held(connection),
        "expected_value": round(planned.value / 100, 2),
    }


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row = connection.execute(f"select count(*) from {SCHEMA}.{table}").fetchone()
    assert row
    return int(row[0])


def _held(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many touches are planned, and how many were held back for each reason."""
    return dict(
        connection.execute(
            f"select coalesce(held_because, 'planned'), count(*) from {SCHEMA}.touch_plan "
            "group by all order by 2 desc, 1"
        ).fetchall()
    )
