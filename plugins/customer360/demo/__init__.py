"""A company to try customer360 on: its world (``world``) and its living systems (``systems``)."""

GENERATOR_VERSION = 2
"""Raised whenever the same seed makes another world: demos of other versions are refused."""
