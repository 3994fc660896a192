"""A tiny demo company whose days pass while a test looks on."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from customer360 import publish
from customer360.demo.systems import company
from customer360.demo.systems.layout import Layout
from customer360.settings import Settings


@contextmanager
def living(seed: int) -> Iterator[Layout]:
    """Its systems run, and settings lead to it."""
    with (
        tempfile.TemporaryDirectory(prefix="c360-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("COMPANY", "demo")
        patch.setenv("CUSTOMER360_DATA", folder)
        patch.setenv("CUSTOMER360_THREADS", "2")
        layout = Layout(Path(folder) / "demo" / "systems")
        company.start(layout, size="tiny", seed=seed, report=lambda _: None)
        try:
            yield layout
        finally:
            company.reset(layout)


@pytest.fixture
def tiny_company() -> Iterator[Layout]:
    """One company a test."""
    with living(seed=7) as layout:
        yield layout


def ask(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    """What the published snapshot says."""
    with duckdb.connect(str(publish.snapshot_path(settings)), read_only=True) as connection:
        return connection.execute(query).fetchall()
