"""Great Expectations suites as code, one module a layer.

What belongs here: which expectations a layer must meet, with severity and owner.
What does not: running them (``customer360.quality``) or anything of Airflow.
"""
