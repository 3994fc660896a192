"""Personas in the chain: from purchase features to groups with stable numbers and names.

What belongs here: windows, writing scores, what the groups were at the last published snapshot.
What does not: the model (``models.segments``), rule segments (``config/audiences.yml``).
"""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from customer360.exceptions import ModelError
from customer360.scoring.features import (
    MAX_TRAINING_ROWS,
    feature_batches,
    orders_content,
    read_features,
    sample,
)
from customer360.scoring.nightly import Challenger, Given, NightlyScore, Scored, fill
from customer360.warehouse import literal, transaction
from models.common.metrics import count_in, stability
from models.segments.personas import (
    QUARTER_DAYS,
    evaluate,
    fit_personas,
    from_artefact,
    persona_card,
    profile,
    references,
    to_artefact,
)

MEMBERS = pa.schema(
    [
        ("customer_id", pa.string()),
        ("persona_number", pa.int32()),
        ("persona", pa.string()),
        ("model_version", pa.string()),
    ]
)
GROUPS = pa.schema(
    [
        ("persona_number", pa.int32()),
        ("name", pa.string()),
        ("description", pa.string()),
        ("customers", pa.int64()),
        ("share", pa.float64()),
        ("model_version", pa.string()),
    ]
)
NONE = "none"


class Personas(NightlyScore):
    """Which group of customers each one buys like."""

    name = "personas"
    folders = ("segments",)

    def fit(self, given: Given) -> Challenger:
        """See ``NightlyScore.fit``: found two quarters ago, judged on the last quarter."""
        quarter = timedelta(days=QUARTER_DAYS)
        content = orders_content(given.connection, given.as_of, given.orders)
        if content.first_on is None or content.first_on > given.as_of - 3 * quarter:
            raise ModelError(
                f"personas need {3 * QUARTER_DAYS} days of orders before {given.as_of}; give a "
                "longer history"
            )
        fitted_on, judged_on = given.as_of - 2 * quarter, given.as_of - quarter
        sampled, _ = sample(given.orders, 2 * content.customers, MAX_TRAINING_ROWS)
        frame = read_features(
            given.connection, [fitted_on, judged_on], QUARTER_DAYS, sampled, labels=True
        ).to_pandas()
        days = pd.to_datetime(frame["as_of"]).dt.date
        before, later = frame[days == fitted_on], frame[days == judged_on]
        # The champion's groups, so that those that are still there keep number and name.
        last = None if given.champion is None else from_artefact(given.champion)
        clusters = fit_personas(before, given.seed, last)
        found = evaluate(clusters, before, later)
        learned_until = judged_on.isoformat()

        def losses_of(artefact: dict[str, Any]) -> np.ndarray | None:
            if artefact["learned_until"] > learned_until:
                return None
            return evaluate(from_artefact(artefact), before, later).losses

        return Challenger(
            artefact={
                **to_artefact(clusters),
                "learned_until": learned_until,
                "reference": references(clusters, later),
            },
            data_hash=content.hash,
            metrics=found.metrics,
            thresholds={},
            losses=found.losses,
            losses_of=losses_of,
            window=f"the {len(later):,} customers of {judged_on}",
            parameters={},
            card=lambda facts: persona_card(clusters, later, found, facts),
            summary={"groups": dict(zip(map(str, clusters.labels), clusters.names, strict=True))},
        )

    def score(self, given: Given, artefact: dict[str, Any] | None, version: str) -> Scored:
        """See ``NightlyScore.score``; without a model nobody has a persona."""
        tables = {"personas": GROUPS.empty_table(), "customer_personas": MEMBERS.empty_table()}
        if artefact is None:
            return Scored(
                tables,
                NONE,
                alarms=(f"personas: too few customers or too little history by {given.as_of}",),
            )
        clusters = from_artefact(artefact)
        names = dict(zip(clusters.labels, clusters.names, strict=True))
        held = _held(given, {name: number for number, name in names.items()})
        reference = artefact["reference"]
        counts = {name: np.zeros(len(one["counts"])) for name, one in reference.items()}
        batches, kept = [], []
        columns = ["customer_id", *clusters.features]
        for frame in feature_batches(
            given.connection, given.as_of, given.horizon_days, given.orders, made=given.features
        ):
            number = clusters.predict(frame, frame["customer_id"].map(held))
            for name in counts:
                counts[name] += count_in(reference[name], frame[name].to_numpy(float))
            kept.append(frame[columns].assign(number=number))
            batches.append(
                fill(
                    [
                        ("customer_id", frame["customer_id"].astype(str)),
                        ("persona_number", number.astype(np.int32)),
                        ("persona", [names[int(one)] for one in number]),
                        ("model_version", [version] * len(frame)),
                    ],
                    MEMBERS,
                )
            )
        if not kept:
            return Scored(tables, version)
        members = pd.concat(kept, ignore_index=True)
        groups = profile(members, clusters, members["number"].to_numpy())
        described = groups.rename(columns={"segment": "persona_number"}).assign(
            model_version=version
        )
        described["persona_number"] = described["persona_number"].astype(np.int32)
        described["share"] = described["share"].round(6)
        return Scored(
            {
                "customer_personas": pa.Table.from_batches(batches, MEMBERS),
                "personas": pa.Table.from_pandas(
                    described[GROUPS.names], GROUPS, preserve_index=False
                ),
            },
            version,
            {"groups": len(groups)},
            {name: stability(reference[name], counts[name]) for name in counts},
        )


def _held(given: Given, numbers: dict[str, int]) -> pd.Series:
    """customer_id -> the group that the last published snapshot knew, where there is still one."""
    if not given.has("scores.last_segments"):
        return pd.Series(dtype="Int64")
    known = given.connection.execute(
        "select customer_id, segment from scores.last_segments where kind = 'persona'"
    ).df()
    return known.set_index("customer_id")["segment"].map(numbers).astype("Int64")


def write_last_groups(
    connection: duckdb.DuckDBPyConnection, snapshot: Path | None, as_of: date | None
) -> None:
    """What an earlier published snapshot knew of who is in which group.

    Tables ``scores.last_segments`` (segments, personas, tiers) and ``scores.last_holdouts`` (arms
    of our own campaigns, by which their effect is measured).

    Args:
        connection: on the work file.
        snapshot: path of a published file of an earlier day, or None.
        as_of: its day.
    """
    with transaction(connection):
        connection.execute("create schema if not exists scores")
        connection.execute(
            "create or replace table scores.last_segments "
            "(customer_id varchar, kind varchar, segment varchar, as_of date)"
        )
        connection.execute(
            "create or replace table scores.last_holdouts "
            "(campaign varchar, customer_id varchar, arm_assigned varchar, assigned_on date)"
        )
    if snapshot is None:
        return
    connection.execute(f"attach {literal(snapshot)} as last_snapshot (read_only)")
    try:
        found = connection.execute(
            "select table_name from duckdb_tables() where database_name = 'last_snapshot' "
            "and schema_name = 'main' "
            "and table_name in ('customer_segments', 'customer_value', 'holdouts')"
        ).fetchall()
        for (table,) in found:
            if table == "holdouts":
                connection.execute(
                    "insert into scores.last_holdouts "
                    "select campaign, customer_id, arm_assigned, assigned_on "
                    "from last_snapshot.holdouts"
                )
                continue
            query = (
                "select customer_id, kind, segment"
                if table == "customer_segments"
                else "select customer_id, 'value_tier', value_tier"
            )
            connection.execute(
                f"insert into scores.last_segments {query}, ?::date from last_snapshot.{table}",
                [as_of],
            )
    finally:
        connection.execute("detach last_snapshot")
