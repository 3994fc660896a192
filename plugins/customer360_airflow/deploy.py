"""Prepares a deployment before its services start: ``python -m customer360_airflow.deploy``.

What belongs here: metadata, pools, the admin's password. What does not: settings (the environment,
see ``docker-compose.yml``), or the local Airflow (``customer360_airflow.local``).
"""

import json
import os
import sys
from pathlib import Path

from customer360.declarations import declared_sources
from customer360.settings import load_settings
from customer360_airflow.defaults import pools

SHORTEST_PASSWORD = 12


def ensure_pools() -> None:
    """Make the pools that the DAGs name, or set them to what sources.yml says."""
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session

    with create_session() as session:
        for name, (slots, description) in pools(declared_sources(load_settings())).items():
            Pool.create_or_update_pool(
                name, slots, description, include_deferred=False, session=session
            )


def write_password(path: Path, password: str) -> None:
    """Keep the admin's password where Airflow's simple login looks for it, for its owner only."""
    if len(password) < SHORTEST_PASSWORD:
        sys.exit(f"AIRFLOW_ADMIN_PASSWORD: at least {SHORTEST_PASSWORD} characters, please.")
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_text(json.dumps({"admin": password}))


def main() -> None:
    """Prepare the deployment that the environment describes."""
    from airflow.configuration import conf
    from airflow.utils import db

    passwords = conf.get_mandatory_value("core", "simple_auth_manager_passwords_file")
    write_password(Path(passwords), os.environ.get("AIRFLOW_ADMIN_PASSWORD", ""))
    db.initdb()
    ensure_pools()


if __name__ == "__main__":
    main()
