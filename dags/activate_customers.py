"""Activate: from a published snapshot to what other tools read (segments, churn alerts).

The Airflow DAG starts with each published snapshot and works for the run that published it. It
reads the snapshot, so it does not wait for the writer of the warehouse.
"""

from airflow.sdk import PartitionedAssetTimetable

from customer360_airflow import assets, names
from customer360_airflow.defaults import customer360_dag
from customer360_airflow.tasks import ActivateStep

with customer360_dag(
    names.ACTIVATE,
    schedule=PartitionedAssetTimetable(assets=assets.SNAPSHOT),
    description="Exports segments and churn alerts of a published snapshot",
    documentation=__doc__,
    tags=["activate"],
):
    ActivateStep(step="activate")
