"""What the last run of a company says: its reviews, and why two records are one customer or not.

What belongs here: reading the identity store for people, without showing what personal fields
hold. What does not: the same for a table resolved by hand (``explain``), deciding (``decisions``).
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import duckdb

from customer360 import state
from customer360.exceptions import ConfigError
from customer360.identity import decisions
from customer360.identity.engine import store_path
from customer360.identity.explain import strongest_path
from customer360.settings import Settings
from customer360.warehouse import connect

RULES = {
    "identifier": "a strong identifier in common",
    "identifier and name": "an identifier in common and the whole name",
    "identifier and fitting name": "an identifier in common and a name that fits as far as it goes",
    "only one of the name": "a lone record, weighed among the known persons of its name",
    "decision": "decided by people",
    "model": "the probabilistic model",
}


@contextlib.contextmanager
def last_run(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """The store of the last run, for reading.

    Raises:
        ConfigError: no run resolved this company yet.
    """
    path = store_path(settings)
    if not path.exists():
        raise ConfigError(
            f"no run has resolved {settings.company} yet (there is no {path}); run the chain, or "
            "resolve a table by hand: customer360 identity resolve"
        )
    with connect(settings, path, read_only=True) as own:
        tables = {
            name for (name,) in own.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        }
        if "link_told" not in tables:
            raise ConfigError(f"{path} holds no finished run; run the chain")
        yield own


def reviews(settings: Settings, limit: int) -> list[dict[str, Any]]:
    """The pairs that await a decision, the most doubtful first."""
    with last_run(settings) as own:
        return _rows(own, f"SELECT * FROM review_told LIMIT {int(limit)}", [])


def _rows(own: duckdb.DuckDBPyConnection, query: str, values: list[Any]) -> list[dict[str, Any]]:
    cursor = own.execute(query, values)
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def explain(settings: Settings, one: str, other: str) -> dict[str, Any]:
    """The links between two records (or two customers, by their closest records).

    ConfigError where one is unknown.
    """
    with last_run(settings) as own:
        if one.startswith("c-") and other.startswith("c-"):
            record_a, record_b = _closest(own, one, other)
        else:
            record_a, record_b = one, other
        customers = dict(
            own.execute(
                "SELECT record_id, customer_id FROM member WHERE closed IS NULL "
                "AND record_id IN (?, ?)",
                [record_a, record_b],
            ).fetchall()
        )
        unknown = [record for record in (record_a, record_b) if record not in customers]
        if unknown:
            raise ConfigError(f"the last run knew no record {', '.join(unknown)}")
        together = customers[record_a] == customers[record_b]
        direct = _rows(
            own,
            "SELECT * FROM link_told WHERE record_l = ? AND record_r = ? ORDER BY rule",
            sorted((record_a, record_b)),
        )
        path: list[dict[str, Any]] = []
        if together:
            inside = _rows(
                own,
                "SELECT * FROM link_told WHERE verdict = 'linked' AND together AND record_l IN "
                "(SELECT record_id FROM member WHERE closed IS NULL AND customer_id = ?) "
                "ORDER BY record_l, record_r, rule",
                [customers[record_a]],
            )
            # a link by identifiers is stronger than one by the model, which ends at some 16 bits
            weighed = [
                {**link, "weight": link["weight"] if link["weight"] is not None else 20.0}
                for link in inside
            ]
            path = strongest_path(weighed, record_a, record_b)
        return {
            "record_a": record_a,
            "record_b": record_b,
            "together": together,
            "customer_a": customers[record_a],
            "customer_b": customers[record_b],
            "compared": direct,
            "path": path,
            "decided": [
                dict(row)
                for row in decisions.in_force(state.opened(settings))
                if [row["record_a"], row["record_b"]] == sorted((record_a, record_b))
            ],
        }


def _closest(own: duckdb.DuckDBPyConnection, one: str, other: str) -> tuple[str, str]:
    """The records of two customers that were compared with the best outcome, else their first."""
    found = own.execute(
        """
        SELECT record_l, record_r FROM link_told
        JOIN member AS left_member ON left_member.record_id = record_l
        JOIN member AS right_member ON right_member.record_id = record_r
        WHERE left_member.closed IS NULL AND right_member.closed IS NULL
            AND least(left_member.customer_id, right_member.customer_id) = ?
            AND greatest(left_member.customer_id, right_member.customer_id) = ?
        ORDER BY coalesce(weight, len(kinds)) DESC, record_l, record_r LIMIT 1
        """,
        sorted((one, other)),
    ).fetchall()
    if found:
        return found[0][0], found[0][1]
    firsts = dict(
        own.execute(
            "SELECT customer_id, min(record_id) FROM member WHERE closed IS NULL "
            "AND customer_id IN (?, ?) GROUP BY 1",
            [one, other],
        ).fetchall()
    )
    missing = [name for name in (one, other) if name not in firsts]
    if missing:
        raise ConfigError(f"no customer {', '.join(missing)} in the last run")
    return firsts[one], firsts[other]


def report(found: dict[str, Any]) -> str:
    """The explanation as a user reads it."""
    pair = f"{found['record_a']} and {found['record_b']}"
    if found["together"]:
        lines = [f"{pair} are one customer, {found['customer_a']}."]
        if len(found["path"]) > 1:
            lines.append(f"They are joined over {len(found['path'])} links:")
        for link in found["path"]:
            lines += describe(link)
    else:
        lines = [f"{pair} are two customers, {found['customer_a']} and {found['customer_b']}."]
    lines += [
        f"- decided by {row['decided_by']} on {row['decided_at']:%Y-%m-%d}: "
        f"{_DECIDED[row['kind']]} (`identity review undo {row['decision_id']}` takes it back)"
        for row in found["decided"]
    ]
    shown = {(link["record_l"], link["record_r"], link["rule"]) for link in found["path"]}
    rest = [
        link
        for link in found["compared"]
        if (link["record_l"], link["record_r"], link["rule"]) not in shown
    ]
    if rest:
        lines.append("Compared directly:")
        for link in rest:
            lines += describe(link)
    elif not found["path"]:
        lines.append("They were never compared: they share no identifier and no rare value.")
    return "\n".join(lines)


def describe(link: dict[str, Any]) -> list[str]:
    """One link in some lines: what decided, what speaks for it and what against."""
    by = RULES.get(link["rule"], f"the rule on {link['rule']}")
    if link["probability"] is not None:
        by += f", probability {link['probability']:.4f}"
    elif link["verdict"] == "refused":
        by = f"it takes {by}"
    lines = [f"- {link['record_l']} - {link['record_r']}: {link['verdict']}: {by}"]
    if link["kinds"]:
        lines.append(f"    for     in common: {', '.join(link['kinds'])}")
    for reason in sorted(link["reasons"], key=lambda one: -(one["weight"] or 0)):
        if reason["weight"] is None:
            if reason["degree"] not in ("unknown", "differ"):
                lines.append(f"    for     {reason['field']}: {_DEGREES[reason['degree']]}")
            continue
        side = "for" if reason["weight"] > 0 else "against"
        lines.append(
            f"    {side:7} {reason['field']:10} {reason['degree']:34} {reason['weight']:+6.1f} bits"
        )
    lines += [f"    against {what}" for what in link["against"]]
    return lines


_DECIDED = {"must_link": "one customer", "cannot_link": "two customers"}
_DEGREES = {
    "same": "the same",
    "near": "a letter or two differ",
    "part": "the same as far as it is known",
    "alike": "the same but for a slip, or its lunar day",
}
