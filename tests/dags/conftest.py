"""Airflow for tests of DAGs: a home of its own, set before anything imports Airflow."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from customer360.settings import PROJECT

HOME = Path(tempfile.mkdtemp(prefix="customer360-airflow-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ["AIRFLOW_HOME"] = str(HOME)
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "false"
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(HOME / "no-plugins")
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{HOME}/airflow.db"
os.environ["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] = "false"


@pytest.fixture(scope="session")
def dag_bag() -> Any:
    """Every DAG of the project, parsed as Airflow parses it, without a database."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(PROJECT / "dags"))
