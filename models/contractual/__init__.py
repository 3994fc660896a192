"""Churn with a given label: contracts that end, accounts that are closed.

Any labelled customer table goes in; calibrated probabilities, reasons in words and a card come
out. What does not belong here: churn that must be inferred from silence (``models.churn``).
"""
