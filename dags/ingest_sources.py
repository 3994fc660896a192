"""Ingest: one Airflow DAG for each source that is declared in `config/sources.yml`.

A run brings in what a source has for one as-of day (its partition key) as an immutable batch.
`build_customer_360` starts by itself once every source has delivered the day. To run a day again,
or days of the past, see "Backfill" in the README.
"""

from customer360.declarations import declared_sources
from customer360.settings import load_settings
from customer360_airflow import assets, schedules
from customer360_airflow.defaults import customer360_dag
from customer360_airflow.tasks import ExtractStep

for source in declared_sources(load_settings()):
    with customer360_dag(
        f"ingest_{source.name}",
        schedule=schedules.nightly(source),
        description=f"Brings in what {source.name} has for one day",
        documentation=__doc__,
        owner=source.owner,
        tags=["ingest", *source.tags],
        end=schedules.last_start([source]),
    ):
        ExtractStep(source=source.name, outlets=[assets.raw(source.name)])
