"""How good a resolution is, against the truth.

What belongs here: pairwise and whole-customer precision, recall, F1 with confidence intervals.
Set-based: pairs are counted from group sizes, never listed. What does not: making the truth.
"""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from customer360.exceptions import ConfigError
from customer360.identity.mapping import quote, reader

_RESAMPLES = 1000


def _load(con: duckdb.DuckDBPyConnection, path: Path, table: str, group: str) -> None:
    relation, columns = reader(con, path)
    missing = [name for name in ("record_id", group) if name not in columns]
    if missing:
        raise ConfigError(
            f"{path} has no column {', '.join(missing)}; its columns are {', '.join(columns)}"
        )
    con.execute(
        f"CREATE OR REPLACE TABLE {table} AS "
        f"SELECT trim({quote(columns['record_id'])}::VARCHAR) AS record_id, "
        f"trim({quote(columns[group])}::VARCHAR) AS {group} FROM {relation}"
    )
    rows, distinct, grouped = con.execute(
        f"SELECT count(*), count(DISTINCT record_id), count({group}) FROM {table}"
    ).fetchall()[0]
    if not rows:
        raise ConfigError(f"{path} has no rows")
    if rows != distinct or rows != grouped:
        raise ConfigError(
            f"{path}: of {rows} rows, {rows - distinct} repeat a record_id or lack one and "
            f"{rows - grouped} have no {group}"
        )


def evaluate(con: duckdb.DuckDBPyConnection, out: Path, truth: Path) -> dict[str, Any]:
    """Compare ``out`` (record_id, customer_id) with ``truth`` (record_id, person_id).

    Records that only one of the files has are counted and left out. The intervals (95 %) come
    from resampling persons, since the pairs of one person are not independent.
    """
    _load(con, out, "result", "customer_id")
    _load(con, truth, "truth", "person_id")
    con.execute(
        """
        CREATE OR REPLACE TABLE judged AS
        SELECT record_id, customer_id, person_id FROM result JOIN truth USING (record_id)
        """
    )
    compared, without_truth, without_result = con.execute(
        "SELECT (SELECT count(*) FROM judged), (SELECT count(*) FROM result ANTI JOIN truth "
        "USING (record_id)), (SELECT count(*) FROM truth ANTI JOIN result USING (record_id))"
    ).fetchall()[0]
    if not compared:
        raise ConfigError(f"{out} and {truth} have no record_id in common")
    # a pair found is shared half and half between its two records' persons, so that persons add
    # up to the whole; equal persons are counted once
    con.execute(
        """
        CREATE OR REPLACE TABLE by_person AS
        WITH cells AS (
            SELECT person_id, customer_id, count(*) AS records FROM judged GROUP BY ALL
        ),
        found AS (SELECT customer_id, sum(records) AS size FROM cells GROUP BY ALL),
        persons AS (
            SELECT person_id, sum(records * (records - 1) / 2) AS right_pairs,
                sum(records * (size - 1) / 2) AS found_pairs,
                sum(records) * (sum(records) - 1) / 2 AS true_pairs
            FROM cells JOIN found USING (customer_id) GROUP BY ALL
        )
        SELECT right_pairs, found_pairs, true_pairs, count(*) AS persons
        FROM persons GROUP BY ALL ORDER BY ALL
        """
    )
    table = con.execute("SELECT * FROM by_person").fetchnumpy()
    sums = np.stack(
        [np.asarray(table[name], float) for name in ("right_pairs", "found_pairs", "true_pairs")]
    )
    counts = np.asarray(table["persons"], float)
    generator = np.random.default_rng(42)
    persons = int(counts.sum())
    resampled = generator.multinomial(persons, counts / persons, size=_RESAMPLES)
    right, found, true = (round(value) for value in sums @ counts)
    whole = con.execute(
        """
        WITH found AS (
            SELECT customer_id, count(*) AS records, count(DISTINCT person_id) AS persons,
                any_value(person_id) AS person_id
            FROM judged GROUP BY ALL
        ),
        actual AS (SELECT person_id, count(*) AS records FROM judged GROUP BY ALL)
        SELECT count(*) FILTER (found.records > 1),
            count(*) FILTER (
                found.records > 1 AND found.persons = 1 AND found.records = actual.records
            ),
            (SELECT count(*) FILTER (records > 1) FROM actual),
            max(found.persons), max(found.records), count(*) FILTER (found.persons > 1)
        FROM found JOIN actual USING (person_id)
        """
    ).fetchall()[0]
    found_whole, right_whole, true_whole, most_persons, largest, wrong = (int(v) for v in whole)
    return {
        "records": int(compared),
        "records_without_truth": int(without_truth),
        "records_without_result": int(without_result),
        "persons": persons,
        "customers": con.execute("SELECT count(DISTINCT customer_id) FROM judged").fetchall()[0][0],
        "pairwise": {
            **_scores(right, found, true),
            **_intervals(sums @ resampled.T),
            "right_pairs": right,
            "wrong_pairs": found - right,
            "missed_pairs": true - right,
        },
        "cluster": _scores(right_whole, found_whole, true_whole),
        "wrong_merges": wrong,
        "biggest_wrong_merge_persons": most_persons if most_persons > 1 else 0,
        "largest_customer_records": largest,
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 1.0


def _scores(right: float, found: float, true: float) -> dict[str, float]:
    return {
        "precision": round(_ratio(right, found), 6),
        "recall": round(_ratio(right, true), 6),
        "f1": round(_ratio(2 * right, found + true), 6),
    }


def _intervals(samples: NDArray[np.float64]) -> dict[str, float]:
    right, found, true = samples
    shares = {
        "precision": (right, found),
        "recall": (right, true),
        "f1": (2 * right, found + true),
    }
    bounds = {}
    for name, (part, whole) in shares.items():
        values = np.divide(part, whole, out=np.ones_like(part), where=whole > 0)
        low, high = np.quantile(values, [0.025, 0.975])
        bounds[f"{name}_low"], bounds[f"{name}_high"] = round(float(low), 6), round(float(high), 6)
    return bounds


def report(found: dict[str, Any]) -> str:
    """The evaluation in words and numbers."""
    pairs, whole = found["pairwise"], found["cluster"]
    lines = [
        f"{found['records']:,} records of {found['persons']:,} persons, found as "
        f"{found['customers']:,} customers",
    ]
    lines += [
        f"  pairs, {name:9}  {pairs[name]:.4f}  ({pairs[name + '_low']:.4f} to "
        f"{pairs[name + '_high']:.4f})"
        for name in ("precision", "recall", "f1")
    ]
    lines += [
        f"  pairs wrong {pairs['wrong_pairs']:,}, missed {pairs['missed_pairs']:,}",
        f"  whole customers of two records and more: precision {whole['precision']:.4f}, recall "
        f"{whole['recall']:.4f}, F1 {whole['f1']:.4f}",
        f"  wrong merges {found['wrong_merges']:,}, the biggest of "
        f"{found['biggest_wrong_merge_persons']} persons; largest customer "
        f"{found['largest_customer_records']} records",
    ]
    left_out = found["records_without_truth"] + found["records_without_result"]
    if left_out:
        lines.append(f"  {left_out:,} records stand in one file only and were left out")
    return "\n".join(lines)
