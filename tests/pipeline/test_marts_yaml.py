"""What every mart must say about itself, held against the project's YAML: none without an owner."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from customer360.transform import DBT_PROJECT

AREAS = ("marts", "activation", "engagement", "identity")
FRESHNESS = {"hourly", "daily", "weekly", "monthly"}
KINDS = {"data", "scores", "volatile"}
GRAIN = re.compile(r"One row an? [^.,:;]+")
GROUPS = (
    "who",
    "reach and consent",
    "value",
    "buying",
    "service",
    "products owned",
    "loyalty",
    "engagement",
    "sentiment",
    "risk",
    "next best action",
    "data trust",
)


def mart_files() -> list[Path]:
    """Models whose tables are published: not what others are built from."""
    files = [path for area in AREAS for path in (DBT_PROJECT / "models" / area).rglob("*.sql")]
    return [path for path in files if "schema='unify'" not in path.read_text(encoding="utf-8")]


def declared() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in DBT_PROJECT.glob("models/**/*.yml"):
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        found |= {model["name"]: model for model in document.get("models", [])}
    return found


def faults(name: str, model: dict[str, Any] | None) -> list[str]:
    """What a mart's YAML lacks, in words."""
    if model is None:
        return [f"{name}: no YAML"]
    config = model.get("config", {})
    meta = config.get("meta", {})
    columns = {column["name"]: column for column in model.get("columns", [])}
    found = []
    if not GRAIN.match(" ".join(model.get("description", "").split())):
        found.append("its description does not begin with its grain: One row a ...")
    if not config.get("contract", {}).get("enforced"):
        found.append("its contract is not enforced")
    found += [f"nobody is its {role}" for role in ("owner", "steward") if not meta.get(role)]
    if meta.get("freshness") not in FRESHNESS:
        found.append("it promises no freshness")
    if meta.get("kind") not in KINDS:
        found.append("its kind is not said")
    if not meta.get("key") or not set(meta["key"]) <= set(columns):
        found.append("its key is not said, or names columns that it has not")
    found += [
        f"column {column} has no {what}"
        for column, entry in columns.items()
        for what in ("description", "data_type")
        if not entry.get(what)
    ]
    return [f"{name}: {fault}" for fault in found]


def test_every_mart_says_its_grain_owner_steward_freshness_and_columns():
    models = declared()
    assert [
        fault for path in mart_files() for fault in faults(path.stem, models.get(path.stem))
    ] == []


def test_a_mart_without_them_is_found():
    planted = {"description": "Customers.", "columns": [{"name": "customer_id"}]}
    assert faults("planted", planted) == [
        "planted: its description does not begin with its grain: One row a ...",
        "planted: its contract is not enforced",
        "planted: nobody is its owner",
        "planted: nobody is its steward",
        "planted: it promises no freshness",
        "planted: its kind is not said",
        "planted: its key is not said, or names columns that it has not",
        "planted: column customer_id has no description",
        "planted: column customer_id has no data_type",
    ]
    assert faults("planted", None) == ["planted: no YAML"]


@pytest.mark.parametrize("said", ["group", "serves", "question"])
def test_every_column_of_customer_360_says_what_it_is_for(said):
    columns = declared()["customer_360"]["columns"]
    lacking = [
        column["name"]
        for column in columns
        if column["name"] not in ("customer_id", "as_of")
        and not column.get("config", {}).get("meta", {}).get(said)
    ]
    assert lacking == []


def test_columns_of_customer_360_stand_in_the_named_groups():
    groups = [
        column["config"]["meta"]["group"]
        for column in declared()["customer_360"]["columns"]
        if column["name"] not in ("customer_id", "as_of")
    ]
    assert list(dict.fromkeys(groups)) == list(GROUPS), "in this order, each in one piece"
