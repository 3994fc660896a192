"""Connectors: how the rows of a declared table are read.

What belongs here: turning a declaration into a relation of text and types as the source has them.
What does not: the contract (``customer360.contracts``) or where rows go (``customer360.landing``).
"""
