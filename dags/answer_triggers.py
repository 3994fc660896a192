"""Answer: what customers did within the last hour, such as leaving a cart, before the night.

The Airflow DAG runs every hour after the hourly lane of the sources has landed what it found. It
reads landing and the published snapshot and writes no warehouse file, so it waits for nobody. What
it plans is sent at once to the destinations that are `hourly` in config/destinations.yml. A run's
key is the hour, on the company's clock, that ends what it answers.
"""

from customer360.declarations import declared_destinations, declared_sources
from customer360.settings import load_settings
from customer360_airflow import schedules
from customer360_airflow.defaults import QUICK, customer360_dag
from customer360_airflow.tasks import AnswerHourStep, DeliverHourStep

settings = load_settings()
hourly = [source for source in declared_sources(settings) if source.is_hourly]

if hourly:
    with customer360_dag(
        "answer_triggers",
        schedule=schedules.after_hourly(hourly[0]),
        description="Answers what customers did within the hour",
        documentation=__doc__,
        tags=["activate"],
        end=schedules.last_start(hourly),
    ):
        answered = AnswerHourStep(task_id="answer", execution_timeout=QUICK)
        delivered = DeliverHourStep.partial(
            task_id="deliver",
            map_index_template="{{ task.destination }}",
            execution_timeout=QUICK,
        )
        answered >> delivered.expand(destination=declared_destinations(settings, hourly=True))
