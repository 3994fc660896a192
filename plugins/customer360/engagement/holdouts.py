"""Hold-outs: a permanent control group, and the arms of each campaign.

What belongs here: who is in which arm, and what becomes of arms when customers merge. What does
not: what an arm means for a touch (``plan``), or the effect (measured elsewhere).

An arm is a keyed hash of campaign and customer id: nobody can be moved by hand, a rerun gives the
same arm, and arms of two campaigns are independent. It is recorded before anything is sent. Who
merges into another customer takes the arm along: one control among a customer's past ids makes it
a control, while the arm as assigned stays on record for analysis.
"""

import secrets

import duckdb
from sqlalchemy import Engine, insert, select

from customer360 import state
from customer360.engagement.config import Engagement
from customer360.engagement.memory import Memory
from customer360.warehouse import literal

GLOBAL = "global"
CONTROL, TREAT = "control", "treat"
_KEY = "holdout_key"


def holdout_key(engine: Engine) -> str:
    """The company's secret key of arms; made once, kept in the decision state."""
    with engine.begin() as connection:
        query = select(state.state_info.c.value).where(state.state_info.c.key == _KEY)
        known = connection.execute(query).scalar()
        if known is None:
            known = secrets.token_hex(32)
            connection.execute(insert(state.state_info).values(key=_KEY, value=known))
    return str(known)


def share_sql(key: str, campaign: str, customer: str) -> str:
    """SQL for a number in [0, 1) that hangs on key, campaign and customer alone."""
    text = f"{literal(key)} || '|' || {campaign} || '|' || {customer}"
    return f"cast(('0x' || left(sha256({text}), 12)) as bigint) / 281474976710656.0"


def assign(
    connection: duckdb.DuckDBPyConnection, rules: Engagement, memory: Memory, audience: str
) -> None:
    """Assign and record arms; write ``engagement.holdouts``.

    Args:
        connection: to the work file.
        rules: shares.
        memory: of this run.
        audience: relation with ``campaign``, ``customer_id`` of those whom campaigns would touch.
    """
    key = holdout_key(memory.engine)
    connection.register("arms_known", memory.assigned())
    connection.execute(
        """
        create or replace temp table arm_heirs as
        -- who a recorded id is today: itself, what it was merged into, what was split off it
        select known.*, customers.customer_id as heir_id
        from arms_known as known
        inner join main.customers as customers on known.customer_id = customers.customer_id
        union
        select known.*, moved.new_id as heir_id
        from arms_known as known
        inner join main.customer_id_map as moved on known.customer_id = moved.old_id
        inner join main.customers as customers on moved.new_id = customers.customer_id
        """
    )
    shares = {
        name: touching.holdout_share
        for name, touching in rules.touching.items()
        if touching.holdout_share > 0
    }
    declared = ", ".join(f"({literal(name)}, {share})" for name, share in shares.items())
    day = f"date {literal(str(memory.as_of))}"
    connection.execute(
        f"""
        create or replace temp table arms_new as
        select
            {literal(GLOBAL)} as campaign,
            customer_id,
            {literal(CONTROL)} as arm,
            {day} as assigned_on
        from main.customers
        where
            {share_sql(key, literal(GLOBAL), "customer_id")} < {rules.holdouts.global_share}
            -- A customer that others merged into keeps the arm of what it was.
            and customer_id not in (select new_id from main.customer_id_map)
            and customer_id not in (
                select heir_id from arm_heirs where campaign = {literal(GLOBAL)}
            )
        union all
        select
            audience.campaign,
            audience.customer_id,
            if(
                {share_sql(key, "audience.campaign", "audience.customer_id")} < shares.share,
                {literal(CONTROL)}, {literal(TREAT)}
            ) as arm,
            {day} as assigned_on
        from (select distinct campaign, customer_id from {audience}) as audience
        inner join (values {declared or "('', 0)"}) as shares (campaign, share)
            on audience.campaign = shares.campaign
        anti join arm_heirs
            on
                audience.campaign = arm_heirs.campaign
                and audience.customer_id = arm_heirs.heir_id
        """
    )
    memory.assign(connection.execute("from arms_new order by all").to_arrow_table())
    connection.execute(
        """
        create or replace table engagement.holdouts as
        with arms as (
            select
                campaign,
                customer_id as assigned_customer_id,
                heir_id as customer_id,
                arm as arm_assigned,
                assigned_on
            from arm_heirs
            union all
            select campaign, customer_id, customer_id, arm, assigned_on from arms_new
        )

        select
            'h' || left(sha256(concat_ws('|', campaign, assigned_customer_id, customer_id)), 24)
                as holdout_id,
            customer_id,
            campaign,
            if(bool_or(arm_assigned = 'control') over of_customer, 'control', 'treat') as arm,
            arm_assigned,
            assigned_customer_id,
            assigned_on
        from arms
        window of_customer as (partition by campaign, customer_id)
        """
    )
    connection.unregister("arms_known")
