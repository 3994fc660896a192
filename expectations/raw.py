"""What is expected of the raw layer: the contracts hold, nothing fell away, nothing is late."""

from dataclasses import dataclass

from expectations.suites import STOP, WARN, Suite, at_least, no_result, no_rows


@dataclass(frozen=True)
class RawTable:
    """What the gate knows of a raw table.

    Attributes:
        key: columns that may name a row in a report.
        rules: (description, SQL condition that each row meets) from the contract.
        min_rows: rows that its state must have at least, from policy and the last published run.
        max_quarantined_share: of the rows that this run read.
        newest_after: UTC; its newest row must be later, or the run warns (``warn``) or stops.
    """

    source: str
    name: str
    key: tuple[str, ...]
    rules: tuple[tuple[str, str], ...]
    min_rows: int
    max_quarantined_share: float
    newest_after: dict[str, str]


def suites(tables: list[RawTable], run_id: str) -> list[Suite]:
    """A suite for each table's versions, one for its state, one for the run's batches."""
    found = []
    for table in tables:
        key = ", ".join(f'"{column}"' for column in table.key)
        rules = [
            no_rows(description, key, f"not _is_deleted and not ({condition})")
            for description, condition in table.rules
        ]
        for severity, moment in table.newest_after.items():
            rules.append(
                no_result(
                    f"The newest row is later than {moment} UTC",
                    "select 'newest row' as what from (select max(_version_at) as newest "
                    f"from {{batch}}) where newest <= timestamp '{moment}'",
                    severity=WARN if severity == "warn" else STOP,
                    kind="freshness",
                )
            )
        if rules:
            found.append(Suite(table.source, table.name, rules, table.source))
        found.append(
            Suite(
                "audit",
                f"{table.source}__{table.name}",
                [at_least(table.min_rows, f"At least {table.min_rows} rows: no sudden fall")],
                table.source,
            )
        )
    shares = {table.max_quarantined_share for table in tables}
    found.append(
        Suite(
            "meta",
            "batches",
            [
                no_rows(
                    "read = loaded + quarantined",
                    "source, table_name, batch",
                    "read_rows <> loaded_rows + quarantined_rows",
                ),
                *[
                    no_result(
                        f"At most {share:.2%} of a table's rows of this run are quarantined "
                        "(gates.max_quarantined_share in policies.yml; customer360 quarantine "
                        "list shows them)",
                        "select source, table_name, sum(quarantined_rows)::varchar || ' of ' || "
                        "sum(read_rows)::varchar || ' rows' as rows from {batch} "
                        f"where loaded_by = '{run_id}' group by source, table_name "
                        f"having sum(quarantined_rows) > {share} * sum(read_rows)",
                    )
                    for share in sorted(shares)
                ],
            ],
        )
    )
    return found
