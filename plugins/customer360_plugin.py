"""The one file that Airflow's plugin loader reads: it tells Airflow that customer360 is here."""

from airflow.plugins_manager import AirflowPlugin


class Customer360Plugin(AirflowPlugin):
    """Customer 360."""

    name = "customer360"
