"""The DAGs as Airflow parses them."""

from typing import Any

import pytest

from customer360.settings import PROJECT


@pytest.fixture(scope="session")
def dag_bag() -> Any:
    """Every DAG of the project, parsed as Airflow parses it, without a database."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(PROJECT / "dags"))
