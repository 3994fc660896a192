"""A small Airflow inside the project folder, for one person: ``make run``, ``up`` and ``down``.

``instance`` knows where it lives and how it is configured, ``serve`` is the process that keeps it
running, ``client`` speaks to its REST API, ``run`` drives one as-of day or a backfill through it.
Production uses ``docker-compose.yml``; nothing here is needed there.
"""
