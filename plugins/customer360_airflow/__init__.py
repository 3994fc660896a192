"""The Airflow face of customer360: assets, defaults, callbacks, the local runner, the web view."""
