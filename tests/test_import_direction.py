"""Imports run one way: models, expectations <- customer360 <- customer360_airflow <- dags."""

import ast
from pathlib import Path

import pytest

from customer360.settings import PROJECT

FOLDERS = {
    "models": PROJECT / "models",
    "expectations": PROJECT / "expectations",
    "customer360": PROJECT / "plugins" / "customer360",
    "customer360_airflow": PROJECT / "plugins" / "customer360_airflow",
    "dags": PROJECT / "dags",
}
MAY_IMPORT = {
    "models": {"models"},
    "expectations": {"expectations"},
    "customer360": {"customer360", "models", "expectations"},
    "customer360_airflow": {"customer360_airflow", "customer360"},
    "dags": {"customer360_airflow", "customer360"},
}
NEVER = {
    "models": {"airflow", "duckdb", "sqlalchemy", "dbt", "great_expectations"},
    "expectations": {"airflow"},
    "customer360": {"airflow"},
    "customer360_airflow": set(),
    "dags": set(),
}


def imported(source: str) -> set[str]:
    """Top-level names that a module imports, wherever in it, also by ``import_module``."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module"
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            names.add(str(node.args[0].value))
    return {name.partition(".")[0] for name in names}


def breaches(package: str, source: str) -> set[str]:
    """What a module of ``package`` imports and may not."""
    found = imported(source)
    return (found & set(FOLDERS) - MAY_IMPORT[package]) | (found & NEVER[package])


@pytest.mark.parametrize("package", FOLDERS)
def test_imports_run_one_way(package: str) -> None:
    files = sorted(FOLDERS[package].rglob("*.py"))
    assert files, f"{package} has no modules: has it moved?"
    wrong = {
        str(file.relative_to(PROJECT)): found
        for file in files
        if (found := breaches(package, file.read_text(encoding="utf-8")))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("customer360", "def late():\n    from airflow.sdk import DAG"),
        ("customer360", "import importlib\nimportlib.import_module('airflow')"),
        ("models", "import customer360.settings"),
        ("models", "import duckdb"),
        ("expectations", "from customer360 import pipeline"),
        ("customer360_airflow", "import dags.build"),
        ("dags", "from models.churn import train"),
    ],
)
def test_a_wrong_import_is_caught(package: str, source: str) -> None:
    assert breaches(package, source)


def test_only_the_plugin_file_lies_loose_in_plugins() -> None:
    """Airflow imports loose files of that folder under their bare names."""
    loose = sorted(path.name for path in Path(PROJECT / "plugins").glob("*.py"))
    assert loose == ["customer360_plugin.py"]
