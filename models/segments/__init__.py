"""Clusters of customers: found, named, described, and recognised again in the next run.

What does not belong here: segments by rule, which are configuration.
"""
