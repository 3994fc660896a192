"""Fixtures of the collection tests."""

from tests.collect.database_servers import (
    mariadb_server,
    mariadb_shop,
    postgres_server,
    postgres_shop,
    shop,
)

__all__ = ["mariadb_server", "mariadb_shop", "postgres_server", "postgres_shop", "shop"]
