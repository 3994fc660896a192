"""What a change of rules would do, before it is taken: who would merge, who would be split.

What belongs here: running the last run's records under other rules on a copy of the store, and
comparing. What does not: taking the change (the next run does when ``identity.yml`` says so).
"""

import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import Engine

from customer360.exceptions import GateError
from customer360.identity import decisions
from customer360.identity.config import IdentityConfig
from customer360.identity.engine import Say, Work, open_store, store_path
from customer360.identity.told import last_run
from customer360.settings import Settings
from customer360.warehouse import literal


@dataclass
class Preview:
    """What would change, in counts of present customers.

    Attributes:
        merging: customers that would become part of another, or take one in.
        splitting: customers of which records would leave.
        high_value: how many of both are among the most valuable (None: no values were given).
        examples: masked: how many records, which initials, by which rule.
    """

    customers: int
    merging: int
    splitting: int
    changed_share: float
    budget: float
    high_value: int | None
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def within_budget(self) -> bool:
        """Whether the change moves no more customers than it may."""
        return self.changed_share <= self.budget


def preview(
    settings: Settings,
    engine: Engine,
    config: IdentityConfig,
    *,
    values: Path | None = None,
    say: Say = lambda _: None,
) -> Preview:
    """Compare the last run with what ``config`` would make of the same records.

    The model and its value frequencies stay; stop-list, caps, kinds and threshold are as ``config``
    says.

    Args:
        settings: the company.
        engine: its decision state.
        config: the rules to try.
        values: Parquet or CSV with ``customer_id`` and ``value``: who is high-value.
        say: told how far it is.
    """
    with last_run(settings):  # there is one
        pass
    with tempfile.TemporaryDirectory(dir=settings.data_dir) as folder:
        path = Path(folder) / "identity.duckdb"
        shutil.copy(store_path(settings), path)
        with open_store(settings, path) as own:
            work = Work(own, settings, engine, config, say)
            _apply_rules(own, config)
            decisions.load(engine, own)
            own.execute("CREATE TEMP TABLE record_changed AS SELECT record_id FROM seen LIMIT 0")
            work.learn_stops()
            work.compute(everything=True, learn_on=None)
            return _compare(own, config, values)


def _apply_rules(own: duckdb.DuckDBPyConnection, config: IdentityConfig) -> None:
    cases = " ".join(
        f"WHEN {literal(kind)} THEN {literal(rule.link)}" for kind, rule in config.kinds.items()
    )
    own.execute(f"UPDATE held SET link = coalesce(CASE kind {cases} END, 'none')")


def _compare(
    own: duckdb.DuckDBPyConnection, config: IdentityConfig, values: Path | None
) -> Preview:
    own.execute(
        """
        CREATE TEMP TABLE part AS
        SELECT customer_id, group_id, count(*) AS records, min(record_id) AS record_id
        FROM member JOIN group_of USING (record_id) WHERE closed IS NULL GROUP BY ALL;
        CREATE TEMP TABLE customer_moved AS
        SELECT customer_id,
            customer_id IN (SELECT customer_id FROM part GROUP BY 1 HAVING count(*) > 1) AS splits,
            bool_or(group_id IN (SELECT group_id FROM part GROUP BY 1 HAVING count(*) > 1))
                AS merges
        FROM part GROUP BY customer_id
        """
    )
    customers, merging, splitting, changed = own.execute(
        "SELECT count(*), count(*) FILTER (merges), count(*) FILTER (splits), "
        "count(*) FILTER (merges OR splits) FROM customer_moved"
    ).fetchall()[0]
    high = None
    if values is not None:
        reader = "read_csv" if values.suffix.lower() == ".csv" else "read_parquet"
        high = own.execute(
            f"""
            WITH ranked AS (
                SELECT customer_id::VARCHAR AS customer_id,
                    percent_rank() OVER (ORDER BY value DESC) AS place
                FROM {reader}({literal(values)}) WHERE value > 0
            )
            SELECT count(*) FROM customer_moved JOIN ranked USING (customer_id)
            WHERE (merges OR splits) AND place <= {config.preview.high_value_share}
            """
        ).fetchall()[0][0]
    return Preview(
        customers=int(customers),
        merging=int(merging),
        splitting=int(splitting),
        changed_share=round(changed / max(1, customers), 6),
        budget=config.preview.max_changed_share,
        high_value=None if high is None else int(high),
        examples=_examples(own, config.preview.examples),
    )


def _examples(own: duckdb.DuckDBPyConnection, count: int) -> list[dict[str, Any]]:
    """Some groups that would change, with initials instead of names."""
    rows = own.execute(
        """
        WITH named AS (
            SELECT part.*, left(family, 1) || '*' || right(coalesce(given, ''), 1) AS name
            FROM part LEFT JOIN person USING (record_id)
        )
        SELECT 'merge' AS what, list(customer_id ORDER BY customer_id) AS customers,
            list(coalesce(name, '?') ORDER BY customer_id) AS names,
            list(records ORDER BY customer_id) AS records
        FROM named GROUP BY group_id HAVING count(*) > 1
        UNION ALL
        SELECT 'split', [customer_id], list(coalesce(name, '?') ORDER BY group_id),
            list(records ORDER BY group_id)
        FROM named GROUP BY customer_id HAVING count(*) > 1
        ORDER BY what, customers
        """
    ).fetchall()
    merges = [row for row in rows if row[0] == "merge"][:count]
    splits = [row for row in rows if row[0] == "split"][:count]
    return [
        {"what": what, "customers": customers, "names": names, "records": records}
        for what, customers, names, records in (*merges, *splits)
    ]


def refuse_over_budget(found: Preview) -> None:
    """Raise GateError where the change moves more customers than the budget allows."""
    if not found.within_budget:
        raise GateError(
            f"the change would move {found.changed_share:.1%} of {found.customers:,} customers, "
            f"the budget is {found.budget:.1%}: take smaller steps, or raise "
            "preview.max_changed_share in identity.yml"
        )


def as_dict(found: Preview) -> dict[str, Any]:
    """For ``--json``."""
    return {**asdict(found), "within_budget": found.within_budget}
