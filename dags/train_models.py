"""Train: a challenger of each model, once a week and when it has drifted, on what was published.

The Airflow DAG starts with each published snapshot. Each model is a task of its own with its own
memory limit; a task that has nothing to do (its model was trained within the week, and nothing
has drifted) is skipped. Nothing is promoted by itself: the library compares the challenger with
the champion on the same later window, keeps the better one, and writes the model card.
"""

from airflow.sdk import PartitionedAssetTimetable

from customer360.scoring.limits import MEMORY_GIB
from customer360_airflow import assets, names
from customer360_airflow.defaults import TRAINING_POOL, WRITER_POOL, customer360_dag
from customer360_airflow.tasks import TrainStep

READS_RAW = {"sentiment"}
"""People's texts are in no snapshot: this training waits for the writer of the warehouse."""

with customer360_dag(
    names.TRAIN,
    schedule=PartitionedAssetTimetable(assets=assets.SNAPSHOT),
    description="Trains challengers of the models that are due",
    documentation=__doc__,
    tags=["train"],
):
    for model, memory_gib in MEMORY_GIB.items():
        TrainStep(
            model=model,
            memory_gib=memory_gib,
            pool=WRITER_POOL if model in READS_RAW else TRAINING_POOL,
        )
