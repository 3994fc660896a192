"""The customer360 library: everything that works without Airflow.

It may import ``models`` and ``expectations``; it never imports ``airflow``.
"""

__version__ = "0.1.0"
