"""Why two records are one customer, or are not.

What belongs here: the strongest chain of links between two records of a result, and what speaks
for and against each. What does not: deciding (``resolve`` did). Values of fields are not shown,
only how far they agree.
"""

import heapq
from pathlib import Path
from typing import Any

import duckdb

from customer360.exceptions import ConfigError
from customer360.identity.mapping import literal, reader
from customer360.identity.resolve import companions


def explain(
    con: duckdb.DuckDBPyConnection, result: Path, record_a: str, record_b: str
) -> dict[str, Any]:
    """The path of links between two records of ``result``, and their own comparison.

    ConfigError where a record is unknown or the links file is missing.
    """
    relation, _ = reader(con, result)
    customers = dict(
        con.execute(
            f"SELECT record_id::VARCHAR, customer_id FROM {relation} "
            "WHERE record_id::VARCHAR IN (?, ?)",
            [record_a, record_b],
        ).fetchall()
    )
    unknown = [record for record in (record_a, record_b) if record not in customers]
    if unknown:
        raise ConfigError(f"{result} has no record {', '.join(unknown)}")
    file = companions(result)["links"]
    if not file.is_file():
        raise ConfigError(f"{file} is missing; `customer360 identity resolve` writes it")
    together = customers[record_a] == customers[record_b]
    direct = _links(con, file, "record_l = ? AND record_r = ?", sorted((record_a, record_b)))
    path: list[dict[str, Any]] = []
    if together and record_a != record_b:
        members = f"SELECT record_id::VARCHAR FROM {relation} WHERE customer_id = ?"
        inside = _links(
            con,
            file,
            f"record_l IN ({members}) AND record_r IN ({members})",
            [customers[record_a], customers[record_a]],
        )
        path = strongest_path(inside, record_a, record_b)
    return {
        "record_a": record_a,
        "record_b": record_b,
        "together": together,
        "customer_a": customers[record_a],
        "customer_b": customers[record_b],
        "compared": direct[0] if direct else None,
        "path": path,
    }


def _links(
    con: duckdb.DuckDBPyConnection, file: Path, where: str, values: list[str]
) -> list[dict[str, Any]]:
    cursor = con.execute(
        f"SELECT * FROM read_parquet({literal(file)}) WHERE {where} ORDER BY record_l, record_r",
        values,
    )
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def strongest_path(links: list[dict[str, Any]], start: str, end: str) -> list[dict[str, Any]]:
    """The chain whose weakest link is strongest, the shortest of such."""
    neighbours: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for link in links:
        neighbours.setdefault(link["record_l"], []).append((link["record_r"], link))
        neighbours.setdefault(link["record_r"], []).append((link["record_l"], link))
    # two chains to one record may be as strong and as long: the number decides, not the links
    queue: list[tuple[float, int, str, int, list[dict[str, Any]]]] = [(-1e9, 0, start, 0, [])]
    done = set()
    steps = 0
    while queue:
        weakest, length, record, _, chain = heapq.heappop(queue)
        if record == end:
            return chain
        if record in done:
            continue
        done.add(record)
        for other, link in neighbours.get(record, []):
            if other not in done:
                steps += 1
                weak = max(weakest, -link["weight"])
                heapq.heappush(queue, (weak, length + 1, other, steps, [*chain, link]))
    return []


def report(found: dict[str, Any]) -> str:
    """The explanation as a user reads it."""
    pair = f"{found['record_a']} and {found['record_b']}"
    if found["together"]:
        lines = [f"{pair} are one customer, {found['customer_a']}."]
    else:
        lines = [f"{pair} are two customers, {found['customer_a']} and {found['customer_b']}."]
    direct = found["compared"]
    path = found["path"]
    if len(path) > 1:
        lines.append(f"They are joined over {len(path)} links:")
    for link in path if path else [direct] if direct else []:
        lines += _describe(link)
    if len(path) > 1 and direct is not None:
        lines += ["Compared directly:", *_describe(direct)]
    if direct is None and not path:
        lines.append("They agree in too little to have been considered (less than 1 : 20).")
    return "\n".join(lines)


def _describe(link: dict[str, Any]) -> list[str]:
    by = f", by the rule on {link['rule']}" if link["rule"] else ""
    if link["decided_by_people"]:
        by = f", decided by people ({link['decided_by_people']})"
    lines = [
        f"- {link['record_l']} - {link['record_r']}: {link['verdict']}{by}, "
        f"probability {link['probability']:.4f}"
    ]
    if link["contradicted"]:
        lines.append("    against: what identifies a person contradicts (names, birthday or sex)")
    for reason in sorted(link["reasons"], key=lambda reason: -reason["weight"]):
        side = "for" if reason["weight"] > 0 else "against"
        lines.append(
            f"    {side:7} {reason['field']:13} {reason['degree']:34} {reason['weight']:+6.1f} bits"
        )
    total = sum(reason["weight"] for reason in link["reasons"])
    if not link["rule"] and not link["decided_by_people"]:
        lines.append(
            f"    sum {total:+.1f} bits, {link['weight']:+.1f} after how rare pairs of one person "
            "are, and how well relatives in one household would explain it"
        )
    return lines
