"""A company of file drops, selected in the environment."""

from pathlib import Path

import pytest

from tests.collect.files_company import Drops, make_drops


@pytest.fixture
def drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drops:
    monkeypatch.setenv("COMPANY", "drops")
    monkeypatch.setenv("CUSTOMER360_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CUSTOMER360_THREADS", "2")
    return make_drops(tmp_path)
