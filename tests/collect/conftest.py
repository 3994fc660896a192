"""Companies of file drops and of databases, and real database servers of the tests' own."""

from pathlib import Path

import pytest

from tests.collect.database_servers import (
    mariadb_server,
    mariadb_shop,
    postgres_server,
    postgres_shop,
    shop,
)
from tests.collect.files_company import Drops, make_drops

__all__ = ["mariadb_server", "mariadb_shop", "postgres_server", "postgres_shop", "shop"]


@pytest.fixture
def drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drops:
    """A company of file drops, selected in the environment."""
    monkeypatch.setenv("COMPANY", "drops")
    monkeypatch.setenv("CUSTOMER360_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CUSTOMER360_THREADS", "2")
    return make_drops(tmp_path)
