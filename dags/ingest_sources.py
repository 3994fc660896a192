"""Ingest: one Airflow DAG for each source that is declared in `config/sources.yml`.

A run brings in what a source has for one as-of day (its partition key) as an immutable batch.
`build_customer_360` starts by itself once every source has delivered the day, or is stale and
policy (`policies.yml`, `stale`) lets the day go on without it. To run a day again, or days of the
past, see "Backfill" in the README. A source with `is_hourly` has a second DAG that lands what is
new every hour; it writes landing alone, and the next build loads it.
"""

from customer360.declarations import declared_sources
from customer360.settings import load_settings
from customer360_airflow import assets, schedules
from customer360_airflow.defaults import customer360_dag, source_pool
from customer360_airflow.tasks import ExtractHourStep, ExtractStep, MarkStaleStep

for source in declared_sources(load_settings()):
    common = {
        "documentation": __doc__,
        "owner": source.owner,
        "tags": ["ingest", *source.tags],
        "end": schedules.last_start([source]),
    }
    outlets = [assets.raw(source.name)]
    with customer360_dag(
        f"ingest_{source.name}",
        schedule=schedules.nightly(source),
        description=f"Brings in what {source.name} has for one day",
        **common,
    ):
        reading = ExtractStep(source=source.name, outlets=outlets, pool=source_pool(source.name))
        reading >> MarkStaleStep(source=source.name, outlets=outlets)
    if source.is_hourly:
        with customer360_dag(
            f"ingest_{source.name}_hourly",
            schedule=schedules.hourly(source),
            description=f"Brings in what {source.name} has of a day that goes on",
            **common,
        ):
            ExtractHourStep(source=source.name, pool=source_pool(source.name))
