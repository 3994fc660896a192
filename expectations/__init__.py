"""Great Expectations suites as code, one module a layer.

What belongs here: which expectations a layer must meet, and whether a failure stops the run
(``critical``) or is reported (``warning``). What does not: running them (``customer360.quality``),
reading configuration, or anything of Airflow.
"""
