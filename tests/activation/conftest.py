import pytest
from sqlalchemy import Engine

from customer360.settings import Settings
from tests.activation.receiver import Receiver
from tests.activation.worlds import World
from tests.collect.database_servers import mariadb_server, postgres_server
from tests.publish import company as publisher

__all__ = ["mariadb_server", "postgres_server"]
"""Fixtures of another folder that tests of this one name."""


@pytest.fixture
def settings(tmp_path) -> Settings:
    return publisher.make_settings(tmp_path)


@pytest.fixture
def engine(settings) -> Engine:
    return publisher.open_state(settings)


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.stop()


@pytest.fixture
def world(company, receiver) -> World:
    return World(company, receiver)
