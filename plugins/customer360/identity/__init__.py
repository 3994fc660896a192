"""Who is who: from any table of person records to customers, links with reasons, and a review list.

What belongs here: mapping files, normalisation, the link model and its training, guarded
clustering, evaluation, explanation. What does not: where the records come from (sources, the
warehouse) and what is done with the customers. Works on a DuckDB connection of its own; needs
no source, no warehouse and no Airflow.
"""
