"""Activate: from a published snapshot to the tools and people that act.

The Airflow DAG starts with each published snapshot and works for the run that published it. It
reads the snapshot, so it does not wait for the writer of the warehouse. Files are exported first;
then each destination of config/destinations.yml has a task of its own, so that a slow receiver
delays nobody else and is tried again by itself.
"""

from airflow.sdk import PartitionedAssetTimetable

from customer360.declarations import declared_destinations
from customer360.settings import load_settings
from customer360_airflow import assets, names
from customer360_airflow.defaults import customer360_dag, deadline
from customer360_airflow.tasks import ActivateStep, DeliverStep

with customer360_dag(
    names.ACTIVATE,
    schedule=PartitionedAssetTimetable(assets=assets.SNAPSHOT),
    description="Exports segments and alerts of a published snapshot, and sends them",
    documentation=__doc__,
    tags=["activate"],
    deadline=deadline(),
):
    exported = ActivateStep(step="activate")
    delivered = DeliverStep.partial(task_id="deliver", map_index_template="{{ task.destination }}")
    exported >> delivered.expand(destination=declared_destinations(load_settings()))
