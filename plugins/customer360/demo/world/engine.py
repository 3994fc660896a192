"""The connection on which the world is made, and randomness that depends on keys alone.

What belongs here: attaching the files, macros, the calendar. What does not: anything about
customers. Every random figure is a hash of (key, purpose, seed), so that it depends neither on
threads nor on the order or size of chunks.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

DAY0 = dt.date(2024, 7, 1)
START_DAY = 729
"""The day that a new demo stands at: 2026-06-30, two years after day 0."""
LAST_DAY = 869
"""The last day that is generated: 140 days of future that ``advance`` can reveal."""
DAYS = LAST_DAY + 1

PERSONS_AT_ONCE = 100_000
"""Bounds the memory of the steps that join much for each person; no content depends on it."""

Progress = Callable[[str], None]

MACROS = """
create macro seed() as {seed}::bigint;
create macro bits(key, purpose) as hash(xor(hash(key::bigint), hash(purpose, seed())));
create macro u(key, purpose) as (bits(key, purpose) >> 11)::double * 1.1102230246251565e-16;
create macro bits2(key, other, purpose) as
    hash(xor(bits(key, purpose), hash(other::bigint * 7919 + 13)));
create macro u2(key, other, purpose) as
    (bits2(key, other, purpose) >> 11)::double * 1.1102230246251565e-16;
create macro z(key, purpose) as
    sqrt(-2 * ln(u(key, purpose || '#') + 1e-12)) * cos(6.283185307179586 * u(key, purpose));
create macro below(draw, bound) as floor(draw * bound)::integer;
create macro spread(key, bound) as (bits(key, 'spread') % bound)::bigint;
create macro pick(items, draw) as items[1 + floor(draw * len(items))::integer];
create macro slot_of(draw) as floor(draw * 8192)::integer;
create macro pois(draw, mean) as
    case when draw < exp(-mean) then 0
         when draw < exp(-mean) * (1 + mean) then 1
         when draw < exp(-mean) * (1 + mean + mean^2 / 2) then 2
         when draw < exp(-mean) * (1 + mean + mean^2 / 2 + mean^3 / 6) then 3
         when draw < exp(-mean) * (1 + mean + mean^2 / 2 + mean^3 / 6 + mean^4 / 24) then 4
         else greatest(5, round(mean + sqrt(mean) * 1.6 * (draw - .5) * 2)::integer) end;
create macro turn(x, step) as
    x % 10000 * 10000
    + (x // 10000 + (hash(xor(hash(x % 10000), hash(step, seed()))) % 10000)::bigint) % 10000;
create macro perm8(x, p) as turn(turn(turn(x::bigint, p || '1'), p || '2'), p || '3');
create macro digits(number, width) as lpad(number::varchar, width, '0');
create macro token(key, purpose, width) as
    substr(translate(base64(unhex(md5(concat(key::varchar, purpose, seed())))), '+/=', '-_A'),
           1, width);
create macro on_day(day) as (date '2024-07-01' + day::integer);
create macro local_at(day, second) as
    (timestamp '2024-07-01' + to_seconds(day::bigint * 86400 + second::bigint));
create macro utc_at(day, second) as
    (timestamp '2024-07-01' + to_seconds(day::bigint * 86400 + second::bigint - 28800));
create macro epoch_s_at(day, second) as
    (1719792000 - 28800 + day::bigint * 86400 + second::bigint);
create macro seen(day) as greatest(0, day)::integer;
create macro typed(text_value, how) as
    case when how = 0 then translate(text_value, '0123456789', '０１２３４５６７８９')
         when how = 1 then '+86' || text_value
         when how = 2 then substr(text_value, 1, 3) || '-' || substr(text_value, 4, 4) || '-'
              || substr(text_value, 8)
         when how = 3 then '86 ' || substr(text_value, 1, 3) || ' ' || substr(text_value, 4, 4)
              || ' ' || substr(text_value, 8)
         when how = 4 then ' ' || text_value || ' '
         else text_value end;
create macro landline(area_code, number) as
    area_code || '-' || case when list_contains(getvariable('short_area_codes'), area_code)
        then (2000000 + number % 6000000) else (20000000 + number % 60000000) end::varchar;
create macro slip(number_text, draw) as
    substr(number_text, 1, 3 + below(draw, 7))
    || ((substr(number_text, 4 + below(draw, 7), 1)::integer + 1 + below(draw * 97 % 1, 8)) % 10)
    || substr(number_text, 5 + below(draw, 7));
"""


@dataclass
class Engine:
    """One generation: the DuckDB connection, the seed and how many persons there are.

    Attributes:
        con: holds the catalogs ``world``, ``truths`` (both kept) and ``latent`` (thrown away).
        persons: persons over the whole life, those who join after the start day included.
    """

    con: duckdb.DuckDBPyConnection
    size: str
    seed: int
    persons: int
    progress: Progress

    def run(self, sql: str) -> None:
        """Execute statements that return nothing of interest."""
        self.con.execute(sql)

    def table_by_persons(self, name: str, query: str) -> None:
        """Create a table some persons at a time.

        Args:
            name: the new table.
            query: SQL in which ``{these}`` stands for a condition on a column just before it, as
                in ``where buys.pid {these}``. It must not look across persons.
        """
        for first in range(0, self.persons, PERSONS_AT_ONCE):
            these = f"between {first} and {first + PERSONS_AT_ONCE - 1}"
            start = f"insert into {name}" if first else f"create table {name} as"
            self.run(f"{start} {query.replace('{these}', these)}")

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """Fetch a small result."""
        return self.con.execute(sql).fetchall()

    def table(self, name: str, columns: str, rows: Sequence[Sequence[object]]) -> None:
        """Create a small table from Python rows; ``columns`` is the list in SQL."""
        self.run(f"create or replace table {name} ({columns})")
        for start in range(0, len(rows), 200):
            batch = rows[start : start + 200]
            marks = ", ".join(["(" + ", ".join("?" * len(batch[0])) + ")"] * len(batch))
            self.con.execute(
                f"insert into {name} values {marks}", [value for row in batch for value in row]
            )


def open_engine(
    world: Path, truth: Path, work: Path, *, size: str, seed: int, persons: int, progress: Progress
) -> Engine:
    """Attach new files and make the macros; the files must not exist yet."""
    con = duckdb.connect(":memory:", config={"threads": 2, "memory_limit": "3500MB"})
    con.execute(f"set temp_directory = '{work}.spill'")
    con.execute(f"attach '{world}' as world")
    con.execute(f"attach '{truth}' as truths")
    con.execute(f"attach '{work}' as latent")
    con.execute("create schema truths.truth")
    for statement in MACROS.format(seed=int(seed)).split(";\n"):
        if statement.strip():
            con.execute(statement)
    return Engine(con, size, seed, persons, progress)
