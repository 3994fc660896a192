import pytest
from sqlalchemy import Engine

from customer360.settings import Settings
from tests.publish import company


@pytest.fixture
def settings(tmp_path) -> Settings:
    return company.make_settings(tmp_path)


@pytest.fixture
def engine(settings) -> Engine:
    return company.open_state(settings)
