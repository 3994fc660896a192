"""Which pairs of records are compared at all.

What belongs here: keys on which two records of one person probably agree, and how many pairs
each may give. What does not: how alike the two are (``model``).

Small tables are compared wholly. In larger ones each key blocks only on the values that are
rare enough for its share of the budget: so a rare surname blocks by itself in a table of a
million, a common one only together with a birthday, and no table needs rules of its own.
"""

from dataclasses import dataclass

import duckdb

COMPARE_ALL = 1_200_000
"""Pairs up to which everything is compared with everything (about 1,500 records)."""

PAIRS_PER_RECORD = 0.6
"""Budget of one key; some 20 to 30 keys, which overlap, give about 8 to 10 pairs a record."""

FEWEST_PAIRS = 100_000
"""Budget of one key in a small table."""

KEYS: tuple[tuple[str, ...], ...] = (
    ("national_id",),
    ("member_no",),
    ("unionid",),
    ("openid",),
    ("phone",),
    ("email",),
    ("names",),
    ("names", "phone_start"),
    ("names", "phone_end"),
    ("given_latin", "birthday"),
    ("family_latin", "birthday"),
    ("given_latin", "street"),
    ("family_latin", "street"),
    ("family_latin", "postcode"),
    ("given_latin", "postcode"),
    ("address",),
    ("road_home",),
    ("estate_home",),
    ("street", "street_number"),
    ("birthday", "postcode"),
    ("birthday", "city"),
    ("birthday",),
    ("names_start", "birth_year"),
    ("names_start", "city"),
    ("family_latin", "birth_year"),
    ("given_latin", "birth_year"),
    ("family_latin", "month_day"),
    ("given_latin", "month_day"),
    ("family_latin", "city"),
    ("given_latin", "city"),
    ("street", "postcode"),
    ("email_user",),
    ("family_latin",),
    ("given_latin",),
    ("street",),
    ("postcode",),
)


@dataclass(frozen=True)
class Blocking:
    """Names of the block columns of ``persons``; with ``complete`` all pairs are compared."""

    columns: tuple[str, ...]
    complete: bool


def parts_of(columns: list[str]) -> dict[str, str]:
    """What keys are made of: name -> SQL over ``persons``."""
    parts = {name: name for name in columns}
    if "birthday" in columns:
        parts["birth_year"] = "left(birthday, 4)"
        parts["month_day"] = "nullif(substr(birthday, 6), '')"
    if "phone" in columns:
        # a slip leaves one half of the number as it is
        parts["phone_start"], parts["phone_end"] = (
            "left(phone, length(phone) - 6)",
            "right(phone, 6)",
        )
    if "email" in columns:
        parts["email_user"] = "split_part(email, '@', 1)"
    if {"given_latin", "family_latin"} <= set(columns):
        # the order of the names does not matter: they are often swapped
        parts["names"] = (
            "CASE WHEN given_latin < family_latin THEN given_latin || '|' || family_latin "
            "ELSE family_latin || '|' || given_latin END"
        )
        starts = "left(given_latin, 2)", "left(family_latin, 2)"
        parts["names_start"] = (
            f"CASE WHEN {starts[0]} < {starts[1]} THEN {starts[0]} || '|' || {starts[1]} "
            f"ELSE {starts[1]} || '|' || {starts[0]} END"
        )
    return parts


def block(con: duckdb.DuckDBPyConnection, columns: list[str], rows: int) -> Blocking:
    """Make ``persons_blocked``: ``persons`` and a column a key, NULL for too common values."""
    if rows * (rows - 1) / 2 <= COMPARE_ALL:
        con.execute(
            "CREATE OR REPLACE TABLE persons_blocked AS SELECT *, 1 AS block_0 FROM persons"
        )
        return Blocking(("block_0",), complete=True)
    parts = parts_of(columns)
    keys = [key for key in KEYS if set(key) <= set(parts)]
    budget = max(FEWEST_PAIRS, int(PAIRS_PER_RECORD * rows))
    hashed = [
        f"CASE WHEN {' AND '.join(f'({parts[part]}) IS NOT NULL' for part in key)} "
        f"THEN hash({', '.join(parts[part] for part in key)}) END AS key_{number}"
        for number, key in enumerate(keys)
    ]
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE block_keys AS SELECT record_id, {', '.join(hashed)} "
        "FROM persons"
    )
    select: list[str] = []
    names: list[str] = []
    for number in range(len(keys)):
        largest = _largest_block(con, f"key_{number}", budget)
        if largest < 2:
            continue
        name = f"block_{len(names)}"
        names.append(name)
        select.append(
            f"CASE WHEN count(*) OVER (PARTITION BY key_{number}) <= {largest} "
            f"THEN key_{number} END AS {name}"
        )
    if not names:  # whatever is said, too many say it
        return Blocking((), complete=False)
    con.execute(
        f"CREATE OR REPLACE TABLE persons_blocked AS SELECT persons.*, COLUMNS('block_.*') "
        f"FROM persons JOIN (SELECT record_id, {', '.join(select)} FROM block_keys) AS blocks "
        "USING (record_id) ORDER BY record_id"
    )
    con.execute("DROP TABLE block_keys")
    return Blocking(tuple(names), complete=False)


def _largest_block(con: duckdb.DuckDBPyConnection, key: str, budget: int) -> int:
    """Size of the largest blocks of ``key`` that the budget of pairs still allows."""
    found = con.execute(
        f"""
        WITH sizes AS (
            SELECT count(*) AS size FROM block_keys WHERE {key} IS NOT NULL GROUP BY {key}
        ),
        pairs AS (
            SELECT size, sum(sum(size * (size - 1) / 2)) OVER (ORDER BY size) AS total
            FROM sizes WHERE size > 1 GROUP BY size
        )
        SELECT max(size) FROM pairs WHERE total <= {budget}
        """
    ).fetchall()[0][0]
    return int(found or 0)
