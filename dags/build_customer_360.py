"""Build: from the raw batches of one as-of day to one published snapshot.

The Airflow DAG starts when every source has delivered the day. It works on a copy of the last good
warehouse; what fails an audit is thrown away with the copy, what passes them all is published
once. Tasks pass ids and counts on, never data. Each task may be cleared and run again.
"""

from airflow.sdk import PartitionedAssetTimetable, chain

from customer360.declarations import declared_sources
from customer360.settings import load_settings
from customer360_airflow import assets, names
from customer360_airflow.defaults import QUICK, WRITER_POOL, customer360_dag
from customer360_airflow.tasks import BeginStep, PublishStep, Step

sources = declared_sources(load_settings())

with customer360_dag(
    names.BUILD,
    schedule=PartitionedAssetTimetable(
        assets=assets.all_of(assets.raw(source.name) for source in sources)
    ),
    description="Builds, audits, scores and publishes the warehouse of one day",
    documentation=__doc__,
    tags=["build"],
):
    chain(
        BeginStep(step="begin", pool=WRITER_POOL, execution_timeout=QUICK),
        Step(step="load_raw", pool=WRITER_POOL),
        Step(step="audit", layer="raw", pool=WRITER_POOL),
        Step(step="resolve_identities", pool=WRITER_POOL),
        Step(step="build_marts", pool=WRITER_POOL),
        Step(step="audit", layer="marts", pool=WRITER_POOL),
        Step(step="train_if_needed", pool=WRITER_POOL),
        Step(step="score", pool=WRITER_POOL),
        Step(step="build_scored_marts", pool=WRITER_POOL),
        Step(step="engage", pool=WRITER_POOL),
        Step(step="audit", layer="scores", pool=WRITER_POOL),
        PublishStep(step="publish", pool=WRITER_POOL, outlets=[assets.SNAPSHOT]),
    )
