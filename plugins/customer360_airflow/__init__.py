"""The Airflow face of customer360: assets, DAG defaults, callbacks, the local runner, the web view."""
