"""Churn alerts: raised once, open until they are answered, expired or without cause.

What belongs here: which alerts are open today, and what people answered to earlier ones. What does
not: the risk itself (``churn_risk``), or who is told (activation).

An alert keeps its id while it lasts. It is raised again only after ``repeat_after_days``, or when
the risk has grown by ``worse_by`` since; whoever answers ``wrong`` is believed for
``wrong_rests_days``, ``later`` brings the same alert back after ``later_days``.
"""

import duckdb
import pyarrow as pa

from customer360.config import Audiences
from customer360.engagement.memory import DECISION_SCHEMA, Memory
from customer360.warehouse import literal

KIND = "alert"
CHURN = "churn"


def raise_alerts(
    connection: duckdb.DuckDBPyConnection, audiences: Audiences, memory: Memory
) -> pa.Table:
    """Write ``engagement.churn_alerts`` and ``engagement.alert_adoption``.

    Returns:
        The alerts that are raised today, for the memory.
    """
    rules = audiences.churn.alert
    tiers = list(audiences.value_tiers)
    alerted = tiers[: tiers.index(rules.min_value_tier) + 1]
    ranks = ", ".join(
        f"({literal(tier)}, {len(tiers) - rank}, {literal(rules.owners[tier])}, "
        f"{literal(rules.actions[tier])})"
        for rank, tier in enumerate(alerted)
    )
    day = f"date {literal(str(memory.as_of))}"
    connection.register("alerts_known", memory.recall(KIND))
    connection.execute(
        f"""
        create or replace temp table alerts_past as
        -- the last alert of each customer, as it is known today, with its answer
        with answers as (
            select alert_id, answer, answered_on
            from main.alert_answers
            where answered_on <= {day}
            qualify row_number() over (
                partition by alert_id order by answered_at desc, answer asc
            ) = 1
        )

        select
            coalesce(moved.new_id, known.subject_id) as customer_id,
            known.decision_id as alert_id,
            known.decided_on as raised_on,
            known.since_on as started_on,
            known.until_on as expires_on,
            known.score as raised_probability,
            known.owner,
            answers.answer,
            answers.answered_on
        from alerts_known as known
        left join main.customer_id_map as moved on known.subject_id = moved.old_id
        left join answers on known.decision_id = answers.alert_id
        where known.name = {literal(CHURN)}
        qualify row_number() over (
            partition by coalesce(moved.new_id, known.subject_id)
            order by known.decided_on desc, known.decision_id asc
        ) = 1
        """
    )
    connection.execute(
        f"""
        create or replace temp table alerts_open as
        with tiers (value_tier, rank, owner, suggested_action) as (values {ranks}),

        at_risk as (
            select
                customers.customer_id,
                customers.last_order_on,
                customers.value_tier,
                customers.churn_probability,
                customers.churn_horizon_days as horizon_days,
                risk.reason_1,
                risk.reason_2,
                risk.reason_3,
                customers.value_at_risk_cents,
                tiers.owner,
                tiers.suggested_action,
                past.alert_id,
                past.raised_on,
                past.started_on,
                past.expires_on,
                past.raised_probability,
                past.answer,
                past.answered_on
            from main.customer_360 as customers
            inner join tiers on customers.value_tier = tiers.value_tier
            inner join main.churn_risk as risk on customers.customer_id = risk.customer_id
            left join alerts_past as past on customers.customer_id = past.customer_id
            where customers.churn_probability >= {rules.min_probability}
        ),

        decided as (
            select
                *,
                case
                    when alert_id is null then 'raise'
                    -- it lasts: not answered, not expired, and no purchase has ended it
                    when
                        expires_on >= {day} and last_order_on <= raised_on
                        and (
                            answer is null
                            or (answer = 'later' and answered_on + {rules.later_days} <= {day})
                        )
                        then 'keep'
                    when answer = 'later' and answered_on + {rules.later_days} > {day} then 'rest'
                    when answer = 'wrong' and answered_on + {rules.wrong_rests_days} > {day}
                        then 'rest'
                    when raised_on + {rules.repeat_after_days} <= {day} then 'raise'
                    when churn_probability >= raised_probability + {rules.worse_by} then 'raise'
                    else 'rest'
                end as verdict
            from at_risk
        )

        select
            if(
                verdict = 'keep', alert_id,
                'a' || left(sha256(concat_ws('|', customer_id, {literal(CHURN)}, {day})), 24)
            ) as alert_id,
            customer_id,
            {literal(CHURN)} as kind,
            if(verdict = 'keep', started_on, last_order_on) as started_on,
            if(verdict = 'keep', raised_on, {day}) as raised_on,
            verdict = 'raise' as is_new,
            value_tier,
            churn_probability,
            horizon_days,
            reason_1,
            reason_2,
            reason_3,
            value_at_risk_cents,
            owner,
            suggested_action,
            if(verdict = 'keep', expires_on, {day} + {rules.expires_after_days}) as expires_on
        from decided
        where verdict in ('raise', 'keep')
        """
    )
    connection.execute("create or replace table engagement.churn_alerts as from alerts_open")
    _count_adoption(connection, day)
    raised = connection.execute(
        f"""
        select
            {literal(KIND)} as kind,
            alert_id as decision_id,
            customer_id as subject_id,
            kind as name,
            cast(null as varchar) as channel,
            raised_on as decided_on,
            expires_on as until_on,
            started_on as since_on,
            churn_probability as score,
            owner
        from alerts_open
        where is_new
        order by alert_id
        """
    ).to_arrow_table()
    connection.unregister("alerts_known")
    return raised.cast(DECISION_SCHEMA)


def _count_adoption(connection: duckdb.DuckDBPyConnection, day: str) -> None:
    """How many alerts of each month and owner people acted on; an answer in time or late counts."""
    connection.execute(
        f"""
        create or replace table engagement.alert_adoption as
        with raised as (
            select decision_id as alert_id, name as kind, decided_on as raised_on, owner
            from alerts_known
            union
            select alert_id, kind, raised_on, owner from alerts_open where is_new
        ),

        answers as (
            select alert_id, answer
            from main.alert_answers
            where answered_on <= {day}
            qualify row_number() over (
                partition by alert_id order by answered_at desc, answer asc
            ) = 1
        )

        select
            cast(date_trunc('month', raised.raised_on) as date) as month,
            raised.kind,
            raised.owner,
            cast(count(*) as integer) as raised,
            cast(count(answers.answer) as integer) as answered,
            cast(count(*) filter (where answers.answer = 'done') as integer) as done,
            cast(count(*) filter (where answers.answer = 'wrong') as integer) as wrong,
            cast(count(*) filter (where answers.answer = 'later') as integer) as later,
            count(*) filter (where answers.answer = 'done') / count(*) as adoption_share
        from raised
        left join answers on raised.alert_id = answers.alert_id
        group by all
        """
    )
