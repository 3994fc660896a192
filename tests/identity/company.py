"""A company in memory for tests of the identity engine: records and identifiers as dictionaries."""

import datetime as dt
import random
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa

from customer360 import state
from customer360.identity.config import IdentityConfig
from customer360.identity.engine import resolve_company
from customer360.settings import Settings

RECORD = ("record_id", "source", "entity", "full_name", "birthday", "birthday_calendar", "sex",
          "city", "address", "organisation_name", "credit_code", "domain")  # fmt: skip
DAY = dt.date(2026, 7, 1)

SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
GIVEN = "伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂文辉玲建华红梅鑫宇浩然涵梓轩雨欣"


@dataclass
class Company:
    """Its sources at a moment, and its runs.

    Attributes:
        folder: its data; the same one again is the same company on another day.
        records: record_id -> fields.
        identifiers: (record_id, kind, value) -> first seen at.
    """

    folder: Path
    records: dict[str, dict[str, str]] = field(default_factory=dict)
    identifiers: dict[tuple[str, str, str], str] = field(default_factory=dict)
    config: IdentityConfig = field(default_factory=IdentityConfig)

    @property
    def settings(self) -> Settings:
        return Settings("acme", self.folder / "acme", threads=2, memory_limit="1GB")

    @property
    def engine(self):
        made = state.engine(self.settings)
        state.ensure(made)
        return made

    def add(self, record_id: str, at: str = "2024-01-01", **given: str) -> "Company":
        """A record; what is no field of records is an identifier."""
        fields = {name: value for name, value in given.items() if name in RECORD}
        self.records[record_id] = {"created_at": at, "entity": "person", **fields}
        for kind, value in given.items():
            if kind not in RECORD:
                self.identifiers[record_id, kind, value] = at
        return self

    def remove(self, record_id: str) -> None:
        del self.records[record_id]
        for key in [key for key in self.identifiers if key[0] == record_id]:
            del self.identifiers[key]

    def connect(self, order: int = 0, *, kept: bool = False) -> duckdb.DuckDBPyConnection:
        """The inputs as relations; ``order`` shuffles the rows.

        With ``kept`` in a file that holds the tables of the last run, as the nightly chain's does.
        """
        file = self.folder / "work.duckdb" if kept else ":memory:"
        con = duckdb.connect(str(file), config={"threads": 2})
        rows = [{"record_id": key, **fields} for key, fields in self.records.items()]
        held = list(self.identifiers.items())
        if order:
            random.Random(order).shuffle(rows)
            random.Random(order).shuffle(held)
        columns = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in RECORD}
        columns["created_at"] = pa.array([row["created_at"] for row in rows], pa.string())
        con.register("records", pa.table(columns))
        con.register("identifiers", pa.table({
            **{name: pa.array([key[place] for key, _ in held], pa.string())
               for place, name in enumerate(("record_id", "kind", "value_normalised"))},
            "first_seen_at": pa.array([at for _, at in held], pa.string()),
            "last_seen_at": pa.array([at for _, at in held], pa.string()),
        }))  # fmt: skip
        return con

    def run(
        self,
        run_id: str,
        day: dt.date = DAY,
        order: int = 0,
        learn: bool | None = None,
        *,
        kept: bool = False,
    ) -> duckdb.DuckDBPyConnection:
        """Resolve; the connection holds the tables, ``summary`` what was told."""
        con = self.connect(order, kept=kept)
        self.summary = resolve_company(
            con, self.settings, self.engine, run_id=run_id, as_of=day, learn=learn,
            config=self.config,
        )  # fmt: skip
        return con

    def resolve(self, run_id: str, **options) -> dict[str, str]:
        """record_id -> customer_id."""
        return customers(self.run(run_id, **options))


def tables(con: duckdb.DuckDBPyConnection) -> dict[str, list]:
    """What schema ``identity`` says: table -> rows in order."""
    names = con.execute(
        "SELECT table_name FROM duckdb_tables() "
        "WHERE schema_name = 'identity' AND table_name <> 'told_run'"
    ).fetchall()
    return {
        name: sorted(map(repr, con.execute(f"SELECT * FROM identity.{name}").fetchall()))
        for (name,) in names
    }


def customers(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    return dict(
        con.execute("SELECT record_id, customer_id FROM identity.customer_records").fetchall()
    )


def groups(found: dict[str, str]) -> set[frozenset[str]]:
    parts: dict[str, set[str]] = {}
    for record, customer in found.items():
        parts.setdefault(customer, set()).add(record)
    return {frozenset(part) for part in parts.values()}


def add_crowd(company: Company, persons: int, seed: int = 1) -> Company:
    """Persons with two or three records each, with what records have: gaps, half names, errors."""
    chance = random.Random(seed)
    for number in range(persons):
        name = chance.choice(SURNAMES) + "".join(chance.choices(GIVEN, k=2))
        born = (
            f"{chance.randint(1950, 2005)}-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}"
        )
        phone = f"13{chance.randint(10**8, 10**9 - 1)}"
        house, building, room = (chance.randint(*ends) for ends in ((1, 90), (1, 20), (101, 2000)))
        home = f"建设路{house}号锦绣园{building}号楼{room}室"
        for system in ("crm", "shop", "loyalty")[: chance.choice((1, 2, 2, 3))]:
            given = {"full_name": name}
            if chance.random() < 0.2:
                given["full_name"] = name[0] + "先生"
            if chance.random() < 0.7:
                given["birthday"] = born
            if chance.random() < 0.75:
                given["phone"] = phone
            if chance.random() < 0.5:
                given["address"], given["city"] = home, "杭州"
            if system == "loyalty":
                given["member_no"] = f"M{number:05d}"
            company.add(f"{system}.people:{number:04d}", **given)
    return company
