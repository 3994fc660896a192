"""Which organisation records are one organisation.

What belongs here: links by credit code, domain and name in one city. What does not: their contact
persons, who are persons. Organisations are few: all are grouped on each run.
"""

import re

import duckdb
import numpy as np
import pyarrow as pa

from customer360.identity import cluster, normalise

_FORMS = re.compile(
    r"(股份有限公司|有限责任公司|有限公司|集团公司|集团|公司|分公司|"
    r"\b(?:gmbh|ag|ltd|limited|inc|llc|co|corp|corporation|plc|sa|bv)\b)"
)
PUBLIC_DOMAINS = ("qq.com", "163.com", "126.com", "gmail.com", "outlook.com", "hotmail.com",
                  "sina.com", "foxmail.com", "139.com", "yahoo.com")  # fmt: skip
"""Domains of mail providers, which say nothing of an organisation."""


def name_core(text: str | None) -> str | None:
    """An organisation's name without its legal form and signs."""
    folded = normalise.fold(text)
    if folded is None:
        return None
    plain = re.sub(r"[\W_]+", " ", folded)
    core = re.sub(r"\s+", " ", _FORMS.sub(" ", plain)).strip()
    return core or plain.strip() or None


def group(con: duckdb.DuckDBPyConnection) -> None:
    """Make ``organisation_group`` (``record_id``, ``group_id``) of ``organisation``.

    Two codes that differ keep records apart, whatever else they share.
    """
    rows = con.execute(
        "SELECT record_id, organisation_name, credit_code, domain, city FROM organisation "
        "ORDER BY record_id"
    ).fetchall()
    keys: dict[tuple[str, str], list[int]] = {}
    codes: list[str | None] = []
    for number, (_, name, code, domain, city) in enumerate(rows):
        core, code = name_core(name), normalise.identifier(code)
        domain = (domain or "").strip().lower().removeprefix("www.")
        codes.append(code)
        for kind, value in (
            ("code", code),
            ("domain", domain if domain and domain not in PUBLIC_DOMAINS else None),
            ("name", f"{core}|{normalise.place(city) or ''}" if core else None),
        ):
            if value:
                keys.setdefault((kind, value), []).append(number)
    says: dict[tuple[int, int], float] = {}
    for (kind, _), numbers in keys.items():
        if len(numbers) > 200:
            continue
        for place, one in enumerate(numbers):
            for other in numbers[place + 1 :]:
                differ = codes[one] and codes[other] and codes[one] != codes[other]
                weight = -1e9 if differ else 16.0 if kind == "code" else 8.0
                says[one, other] = says.get((one, other), 0.0) + weight
    pairs = np.array(sorted(says), np.int64).reshape(-1, 2)
    weights = np.array([says[one, other] for one, other in pairs.tolist()])
    first = cluster.join(pairs[:, 0], pairs[:, 1], weights, absent=0.0)
    con.register(
        "organisations_found",
        pa.table({
            "record_id": pa.array([row[0] for row in rows], pa.string()),
            "group_id": pa.array([rows[first.get(n, n)][0] for n in range(len(rows))], pa.string()),
        }),
    )  # fmt: skip
    con.execute(
        "CREATE OR REPLACE TEMP TABLE organisation_group AS SELECT * FROM organisations_found"
    )
    con.unregister("organisations_found")
