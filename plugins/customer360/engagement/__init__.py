"""What to do for whom: hold-outs, alerts, care, triggers, warnings and the one touch plan.

Set-based rules between the scored marts and publishing. They read the work file and the decision
state, and write schema ``engagement``, which dbt publishes under contract. Nothing here sends.
"""
