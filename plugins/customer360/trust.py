"""Trust gates: what waits while a field that it needs came in too weak.

What belongs here: each field's last measured day against the limits of policies.yml, and refusing a
use. What does not: measuring (``collection_quality``).
"""

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from customer360.collection_quality import VIEW
from customer360.config import SCALES, Config
from customer360.exceptions import GateError
from customer360.notify import Finding
from customer360.settings import Settings
from customer360.warehouse import connect

MART = "main.collection_quality"

MENDS = {
    "complete": "have the source fill it in",
    "accurate": "correct the rows (customer360 quarantine list) or the contract in sources.yml",
    "timely": "find out why the source delivers late",
    "compliant": "state legal_basis, or consent_recorded_in, in policies.yml",
}


@dataclass(frozen=True)
class Measure:
    """The last measured day of one field.

    Attributes:
        field: source.table.field.
        shares: scale -> share, None where the scale has no meaning.
        limits: scale -> least share, as policies.yml says now.
    """

    field: str
    day: dt.date
    rows: int
    shares: dict[str, float | None]
    limits: dict[str, float]

    @property
    def source(self) -> str:
        """The field's source."""
        return self.field.partition(".")[0]

    @property
    def weaknesses(self) -> list[tuple[str, float, float]]:
        """(scale, share, limit) where the share is below the limit."""
        return [
            (scale, share, self.limits[scale])
            for scale, share in self.shares.items()
            if share is not None and share < self.limits[scale]
        ]

    @property
    def badness(self) -> tuple[float, float]:
        """Sorts the worst field last: how far below its limit, then how low."""
        shortfall = max((limit - share for _, share, limit in self.weaknesses), default=0.0)
        return shortfall, -min(share for share in (*self.shares.values(), 1.0) if share is not None)


def measures(
    connection: duckdb.DuckDBPyConnection, config: Config, as_of: dt.date, relation: str = VIEW
) -> list[Measure]:
    """Every field's last day up to ``as_of`` that brought rows."""
    rows = connection.execute(
        f"select source || '.' || table_name || '.' || field, as_of, rows_seen, "
        f"{', '.join(SCALES)} from {relation} where as_of <= ? and rows_seen > 0 "
        "qualify row_number() over (partition by source, table_name, field order by as_of desc) = 1"
        " order by source, table_name, field",
        [as_of],
    ).fetchall()
    return [
        Measure(
            field,
            day,
            count,
            dict(zip(SCALES, shares, strict=True)),
            config.policies.trust.limits_of(field),
        )
        for field, day, count, *shares in rows
    ]


def worst(found: Iterable[Measure]) -> Measure | None:
    """The field that most wants mending."""
    return max(found, key=lambda measure: measure.badness, default=None)


def require(
    settings: Settings, config: Config, as_of: dt.date, marts: Path, use: str, what: str
) -> None:
    """See that every field that ``use`` needs can be trusted.

    Args:
        marts: a file that holds the mart ``collection_quality``.
        use: scoring or sending.
        what: what is refused, in words.

    Raises:
        GateError: names each field, scale, value and limit, and the mend.
    """
    needed: tuple[str, ...] = getattr(config.policies.trust.uses, use)
    if not needed:
        return
    with connect(settings, marts, read_only=True) as connection:
        is_there = connection.execute(
            "select 1 from duckdb_tables() where schema_name || '.' || table_name = ?", [MART]
        ).fetchall()
        found = measures(connection, config, as_of, MART) if is_there else []
    known = {measure.field: measure for measure in found}
    findings = []
    for field in needed:
        source = field.partition(".")[0]
        if field not in known:
            text = f"{field} was never measured; ingest its source and run the day again"
            findings.append(Finding("trust", source, text))
            continue
        measure = known[field]
        findings += [
            Finding(
                "trust",
                source,
                f"{field}: {scale} {percent(share)} of {measure.rows:,} rows on {measure.day}, "
                f"needs {percent(limit)}; {MENDS[scale]}",
            )
            for scale, share, limit in measure.weaknesses
        ]
    if findings:
        lines = "\n".join(f"  - {finding.text}" for finding in findings)
        raise GateError(
            f"{what}: fields that {use} needs cannot be trusted.\n{lines}\nOr change trust in "
            "policies.yml; then run the day again.",
            findings,
        )


def percent(share: float) -> str:
    """A share for people; rounded down, so that what is short of 100 % never reads 100 %."""
    return f"{math.floor(share * 1000 + 1e-9) / 10:g} %"
