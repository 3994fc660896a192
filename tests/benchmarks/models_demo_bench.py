"""Models on the demo company's world, where the truth behind the data is known.

What belongs here: figures that only a known truth can give. What does not: identity (orders and
touches stand under the true person, so that a figure is the model's own), the chain.
"""

import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from customer360.demo.world import generate
from customer360.scoring.channels import Channels, read_touches
from customer360.scoring.churn import fit_churn
from customer360.scoring.features import read_features
from customer360.scoring.nightly import Given
from customer360.warehouse import literal
from models.churn.predict import predict
from models.churn.train import churned
from models.common.metrics import binary_metrics, ranking_metrics
from models.segments.personas import QUARTER_DAYS, evaluate, fit_personas
from tests.benchmarks.models_sheet import Sheet

ZONE = "Asia/Shanghai"
HAZARD_DAY, HORIZON = date(2026, 6, 30), 150
# The world ends on 2026-11-17: the last origin whose horizon lies wholly in it.
ORIGIN = date(2026, 6, 19)


def bench(sheet: Sheet, demo: str) -> None:
    """Churn against the hazard, channels against the rule, personas week by week.

    Args:
        sheet: to write on.
        demo: a size to generate, or a folder that holds ``world*.duckdb`` and ``truth*.duckdb``.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = Path(demo)
        if found.is_dir():
            world, truth = (next(found.glob(f"{name}*.duckdb")) for name in ("world", "truth"))
        else:
            world, truth = Path(folder) / "world.duckdb", Path(folder) / "truth.duckdb"
            generate(world, truth, size=demo, seed=42)
        with duckdb.connect(config={"threads": 2}) as connection:
            connection.execute(f"attach {literal(world)} as world (read_only)")
            connection.execute(f"attach {literal(truth)} as truths (read_only)")
            people = _load(connection)
            task = f"demo, {people:,} people"
            _churn(sheet, task, connection)
            _channels(sheet, task, connection)
            _personas(sheet, task, connection)


def _load(connection: duckdb.DuckDBPyConnection) -> int:
    """Orders and touches by true person, in the shape of the marts."""
    connection.execute(
        """
        create table orders as
        select
            person_id as customer_id,
            order_no as order_id,
            (ordered_at + interval 8 hour)::date as ordered_on,
            paid_fen as amount_cents,
            1::bigint as quantity
        from world.shop.orders
        inner join truths.truth.records
            on system = 'shop' and table_name = 'orders' and record_key = order_no
        where _to_day is null and status <> 'cancelled'
        union all
        select
            person_id,
            receipt_no,
            business_day,
            (paid_yuan * 100)::bigint,
            1::bigint
        from world.till.receipts
        inner join truths.truth.records
            on system = 'till' and table_name = 'receipts' and record_key = receipt_no
        where paid_yuan > 0;

        create table customers as select distinct customer_id from orders;

        create table campaign_touches as
        with answers as (
            select
                send_id,
                min("at") filter (where kind = 'open') as opened_at,
                min("at") filter (where kind = 'click') as clicked_at
            from world.campaign.responses
            group by send_id
        )

        select
            person_id as customer_id,
            channel,
            opened_at is not null as is_opened,
            clicked_at is not null as is_clicked,
            false as is_redeemed,
            (sent_at + interval 8 hour)::date as sent_on,
            opened_at,
            clicked_at,
            status = 'delivered' as is_delivered
        from world.campaign.sends
        inner join truths.truth.records
            on system = 'campaign' and table_name = 'contacts' and record_key = contact_id::varchar
        left join answers using (send_id);
        """
    )
    return int(connection.execute("select count(*) from customers").fetchall()[0][0])


def _churn(sheet: Sheet, task: str, connection: duckdb.DuckDBPyConnection) -> None:
    fitted = fit_churn(connection, ORIGIN, HORIZON)
    frame = read_features(connection, [ORIGIN], HORIZON, labels=True).to_pandas()
    chance = predict(fitted.model, frame)["churn_probability"].to_numpy()
    label = churned(frame)
    figures = binary_metrics(label, chance)
    slope = figures["calibration_slope"]
    sheet.add(
        task, f"churn in {HORIZON} days, calibration slope", ".9 to 1.1", f"{slope:.3f}",
        0.9 <= slope <= 1.1,
        f"said {figures['mean_probability']:.1%}, came {figures['base_rate']:.1%}",
    )  # fmt: skip
    truth = connection.execute(
        f"""
        select
            person_id as customer_id,
            hazard.hazard_90_days as hazard,
            coalesce(left_on <= date '{HAZARD_DAY}' + 90, false) as leaves
        from truths.truth.hazards as hazard
        inner join truths.truth.persons using (person_id)
        where as_of = '{HAZARD_DAY}' and (left_on is null or left_on > '{HAZARD_DAY}')
        """
    ).df()
    known = frame[["customer_id", "recency_days"]].assign(chance=chance, label=label)
    known = known.merge(truth, on="customer_id")
    aucs = {
        name: ranking_metrics(known["label"].to_numpy(), known[name].to_numpy())["auc"]
        for name in ("chance", "hazard", "recency_days")
    }
    sheet.add(
        task, "churn, AUC against the truth's hazard", ">= hazard - .02", f"{aucs['chance']:.4f}",
        aucs["chance"] >= aucs["hazard"] - 0.02,
        f"who buys nothing, of {len(known):,} who have not left: hazard {aucs['hazard']:.4f}, "
        f"recency {aucs['recency_days']:.4f}",
    )  # fmt: skip
    lately = known[known["recency_days"] <= 365]
    leaves = lately["leaves"].to_numpy(dtype=float)
    leaving = {
        name: ranking_metrics(leaves, lately[name].to_numpy())["auc"]
        for name in ("chance", "hazard", "recency_days")
    }
    sheet.add(
        task, "leaving for good in 90 days, AUC", "-", f"{leaving['chance']:.4f}", None,
        f"another question than the score's: hazard {leaving['hazard']:.4f} (knows satisfaction "
        f"and frailty), recency {leaving['recency_days']:.4f}",
    )  # fmt: skip


def _channels(sheet: Sheet, task: str, connection: duckdb.DuckDBPyConnection) -> None:
    given = Given(connection, HAZARD_DAY, HORIZON, ZONE)
    made = Channels().fit(given)
    scored = Channels().score(given, made.artefact, "bench").tables["channels"].to_pandas()
    touches = read_touches(given)
    last = touches.groupby("customer_id")["channel"].last()
    best = scored[scored["is_best"]].set_index("customer_id")["channel"]
    truth = connection.execute(
        "select person_id, preferred_channel from truths.truth.persons"
    ).df().set_index("person_id")["preferred_channel"]  # fmt: skip
    answered = touches[touches["responded"] == 1]["customer_id"].unique()
    hits = {
        name: float((rule.reindex(answered) == truth.reindex(answered)).mean())
        for name, rule in (("model", best), ("last", last))
    }
    auc, beside = _later_touches(made.card({}).tables)
    sheet.add(
        task, "channel, AUC of later touches", "> last channel", f"{auc:.4f}",
        auc > beside["last channel"], ", ".join(f"{who} {one:.4f}" for who, one in beside.items()),
    )  # fmt: skip
    sheet.add(
        task, "channel, the truly preferred one", "> last channel", f"{hits['model']:.1%}",
        hits["model"] > hits["last"],
        f"last channel {hits['last']:.1%}; of {len(answered):,} who ever answered",
    )  # fmt: skip


def _later_touches(tables: list) -> tuple[float, dict[str, float]]:
    """AUC of the model and of each rule, from the card's table."""
    table = next(one.frame for one in tables if "rule" in one.frame and "auc" in one.frame)
    aucs = dict(zip(table["rule"], table["auc"], strict=True))
    return aucs.pop("customer360"), aucs


def _personas(sheet: Sheet, task: str, connection: duckdb.DuckDBPyConnection) -> None:
    quarter, week = timedelta(days=QUARTER_DAYS), timedelta(days=7)
    # Judged on the quarter that ends with the day of the hazard; found a quarter before it.
    days = [HAZARD_DAY - 2 * quarter, HAZARD_DAY - quarter]
    frames = {
        day: read_features(connection, [day], QUARTER_DAYS, labels=True).to_pandas()
        for day in (*days, *(days[0] + number * week for number in (1, 2, 3)))
    }
    groups = fit_personas(frames[days[0]])
    found = evaluate(groups, frames[days[0]], frames[days[1]])
    last, agreements = groups, []
    before = _members(groups, frames[days[0]])
    for number in (1, 2, 3):
        frame = frames[days[0] + number * week]
        last = fit_personas(frame, last=last)
        after = _members(last, frame, frame["customer_id"].map(before))
        both = before.index.intersection(after.index)
        agreements.append(adjusted_rand_score(before[both], after[both]))
        before = after
    sheet.add(
        task, "personas, adjusted Rand between weekly runs", ">= .9",
        " / ".join(f"{one:.3f}" for one in agreements), min(agreements) >= 0.9,
        f"{len(groups.labels)} groups, found anew each week",
    )  # fmt: skip
    worth = found.metrics
    for figure, what in (("explained_of_log", "log spend"), ("explained", "spend")):
        sheet.add(
            task, f"personas, next quarter's {what} explained", "> tiers",
            f"{worth[figure]:.3f}", worth[figure] > worth[f"tiers_{figure}"],
            f"best of tiers {worth[f'tiers_{figure}']:.3f}",
        )  # fmt: skip


def _members(groups: Any, frame: pd.DataFrame, held: pd.Series | None = None) -> pd.Series:
    return pd.Series(np.asarray(groups.predict(frame, held)), index=frame["customer_id"])
