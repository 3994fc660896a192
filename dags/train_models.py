"""Train: a challenger for each model, once a week, on the past only.

The key of a run of this Airflow DAG is the day on which it trains; it learns from the days before.
It promotes nothing by itself: the library compares the challenger with the champion and with the
naive rule, and writes the model card.
"""

from customer360.declarations import declared_sources
from customer360.settings import load_settings
from customer360_airflow import schedules
from customer360_airflow.defaults import WRITER_POOL, customer360_dag
from customer360_airflow.tasks import TrainStep

sources = declared_sources(load_settings())

with customer360_dag(
    "train_models",
    schedule=schedules.weekly(sources),
    description="Trains challengers of the models",
    documentation=__doc__,
    tags=["train"],
    end=schedules.last_start(sources),
):
    TrainStep(step="train", pool=WRITER_POOL)
