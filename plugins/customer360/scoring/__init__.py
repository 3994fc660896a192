"""Scoring customers: where models meet tables.

What belongs here: reading and writing the tables that models need, training, scoring, the
``customer360 score`` commands. What does not: the mathematics (``models/``).
"""
