"""A tiny company: the shapes of the real one, small enough for a test; a home for Airflow."""

import datetime as dt
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from customer360.declarations import declared_sources
from customer360.settings import PROJECT, Settings, load_settings

FIRST_DAY = dt.date(2017, 1, 1)
LAST_DAY = dt.date(2017, 10, 29)
HOUSEHOLDS = 60

TOKEN_KEY = "0" * 64
"""The key of tokens in tests; the unit tests of dbt state tokens made with it."""

AT_HOME = pytest.StashKey[set[Path]]()


def pytest_configure(config: pytest.Config) -> None:
    """Give Airflow a home of its own, before any test file imports it and thereby makes one."""
    home = Path(tempfile.mkdtemp(prefix="customer360-airflow-"))
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    os.environ.update(
        {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "no-plugins"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
        }
    )
    config.stash[AT_HOME] = at_home()


def at_home() -> set[Path]:
    """What Airflow leaves in a person's home folder where nobody told it of another one."""
    return {*Path.home().glob("airflow"), *Path.home().glob("airflow/*")}


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_at_home(pytestconfig: pytest.Config) -> Iterator[None]:
    """Fail a session in which Airflow made itself a home beside the one above."""
    yield
    before = pytestconfig.stash[AT_HOME]
    assert at_home() == before, "a test, or what it started, ran Airflow without AIRFLOW_HOME"


@dataclass
class Company:
    """A company of its own: configuration, source files and data folder below one folder."""

    root: Path
    config: dict[str, Any]

    @property
    def files(self) -> Path:
        return self.root / "systems"

    @property
    def settings(self) -> Settings:
        return load_settings()

    def write(self) -> None:
        """Write the configuration as it stands in ``config``."""
        folder = self.root / "config"
        folder.mkdir(exist_ok=True)
        for name, section in self.config.items():
            text = yaml.safe_dump({"tiny": section}, sort_keys=False)
            (folder / f"{name}.yml").write_text(text, encoding="utf-8")

    def table(self, source: str, name: str) -> dict[str, Any]:
        return self.config["sources"]["sources"][source]["tables"][name]

    def read(self, name: str) -> pa.Table:
        return pq.read_table(self.files / f"{name}.parquet")

    def put(self, name: str, table: pa.Table) -> None:
        pq.write_table(table, self.files / f"{name}.parquet")


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    """The tiny company, selected in the environment."""
    made = make_company(tmp_path)
    monkeypatch.setenv("COMPANY", "tiny")
    monkeypatch.setenv("CUSTOMER360_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CUSTOMER360_THREADS", "2")
    monkeypatch.setenv("CUSTOMER360_TOKEN_KEY", TOKEN_KEY)
    return made


def make_company(root: Path) -> Company:
    """Source files of a tiny company and the configuration of the real one that reads them."""
    config = {
        name: yaml.safe_load((PROJECT / "config" / f"{name}.yml").read_text(encoding="utf-8"))[
            "complete_journey"
        ]
        for name in ("sources", "audiences", "policies")
    }
    for source in config["sources"]["sources"].values():
        source["path"] = str(root / "systems")
    made = Company(root, config)
    made.files.mkdir(parents=True)
    made.write()
    _write_systems(made)
    return made


def _write_systems(made: Company) -> None:
    random = np.random.default_rng(7)
    days = (LAST_DAY - FIRST_DAY).days + 1
    baskets = []
    for household in range(1, HOUSEHOLDS + 1):
        gap = 2 + 28 * random.random()
        stays = days if random.random() < 0.7 else int(days * random.random())
        day = int(random.integers(0, 20))
        while day < stays:
            baskets.append((household, day, int(random.integers(13, 23))))
            day += max(1, int(random.exponential(gap)))
    lines = [
        (household, day, hour, number, line)
        for number, (household, day, hour) in enumerate(baskets)
        for line in range(1 + number % 3)
    ]
    start = dt.datetime.combine(FIRST_DAY, dt.time())
    cents = random.integers(50, 2000, len(lines))
    made.put(
        "transactions",
        pa.table(
            {
                "household_id": pa.array([line[0] for line in lines], pa.int64()),
                "store_id": pa.array([300 + line[0] % 4 for line in lines], pa.int64()),
                "basket_id": pa.array([9000 + line[3] for line in lines], pa.int64()),
                "product_id": pa.array([100 + (line[3] + line[4]) % 12 for line in lines]),
                "quantity": pa.array([1 + line[4] for line in lines], pa.int64()),
                "sales_value": pa.array(cents / 100),
                "retail_disc": pa.array(cents // 10 / 100),
                "coupon_disc": pa.array([0.0] * len(lines)),
                "coupon_match_disc": pa.array([0.0] * len(lines)),
                "week": pa.array([1 + line[1] // 7 for line in lines], pa.int64()),
                "transaction_timestamp": pa.array(
                    [start + dt.timedelta(days=line[1], hours=line[2]) for line in lines],
                    pa.timestamp("us"),
                ),
            }
        ),
    )
    products = range(100, 112)
    made.put(
        "products",
        pa.table(
            {
                "product_id": pa.array(products, pa.int64()),
                "manufacturer_id": pa.array([1] * 12, pa.int64()),
                "department": ["GROCERY", "DRUG GM"] * 6,
                "brand": ["National", "Private"] * 6,
                "product_category": ["SOUP"] * 12,
                "product_type": ["TOMATO"] * 12,
                "package_size": [None] * 12,
            }
        ),
    )
    known = range(1, HOUSEHOLDS, 3)
    made.put(
        "demographics",
        pa.table(
            {
                "household_id": pa.array(known, pa.int64()),
                "age": ["25-34"] * len(known),
                "income": ["35-49K"] * len(known),
                "home_ownership": ["Homeowner"] * len(known),
                "marital_status": ["Married"] * len(known),
                "household_size": ["2"] * len(known),
                "household_comp": ["1 Adult Kids"] * len(known),
                "kids_count": ["1"] * len(known),
            }
        ),
    )
    made.put(
        "campaign_descriptions",
        pa.table(
            {
                "campaign_id": pa.array([1, 2], pa.int64()),
                "campaign_type": ["Type A", "Type B"],
                "start_date": pa.array([dt.datetime(2017, 3, 3), dt.datetime(2017, 12, 1)]),
                "end_date": pa.array([dt.datetime(2017, 4, 9), dt.datetime(2018, 1, 1)]),
            }
        ),
    )
    mailed = [(1, household) for household in range(1, 31)] + [(2, 5)]
    made.put(
        "campaigns",
        pa.table(
            {
                "campaign_id": pa.array([row[0] for row in mailed], pa.int64()),
                "household_id": pa.array([row[1] for row in mailed], pa.int64()),
            }
        ),
    )
    made.put(
        "coupons",
        pa.table(
            {
                "coupon_upc": pa.array([77, 77, 78], pa.int64()),
                "product_id": pa.array([100, 100, 101], pa.int64()),
                "campaign_id": pa.array([1, 1, 1], pa.int64()),
            }
        ),
    )
    made.put(
        "coupon_redemptions",
        pa.table(
            {
                "household_id": pa.array([3, 4, 4], pa.int64()),
                "coupon_upc": pa.array([77, 77, 78], pa.int64()),
                "campaign_id": pa.array([1, 1, 1], pa.int64()),
                "redemption_date": pa.array([dt.datetime(2017, 3, day) for day in (9, 20, 21)]),
            }
        ),
    )


Chain = Callable[..., dict[str, Any]]


@pytest.fixture
def chain(company: Company) -> Chain:
    """Run the steps of the chain in this process, as the DAGs order them.

    ``until`` names the last one; ``before_publish`` is called with the marts file.
    """
    from customer360 import pipeline, run_status

    def run(
        as_of: dt.date = LAST_DAY,
        run_id: str = "run",
        until: str = "activate",
        before_publish: Callable[[Path], None] = lambda _: None,
    ) -> dict[str, Any]:
        settings = company.settings
        for source in declared_sources(settings):
            pipeline.extract(settings, source.name, as_of)
        for step in (
            "begin", "load_raw", "audit raw", "resolve_identities", "build_marts", "audit marts",
            "train_if_needed", "score", "build_scored_marts", "engage", "audit scores",
            "publish", "activate",
        ):  # fmt: skip
            if step == "publish":
                before_publish(settings.work_dir / run_id / pipeline.MARTS_FILE)
            name, *layer = step.split()
            getattr(pipeline, name)(settings, as_of, run_id, *layer)
            if step == until:
                break
        return run_status.status(settings)

    return run
