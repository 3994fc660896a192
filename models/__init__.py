"""Machine learning of customer360: frames in, frames out.

What belongs here: features, training, prediction, evaluation and cards of one model each.
What does not: SQL, Airflow, files, the clock, or any import of ``customer360``.
"""
