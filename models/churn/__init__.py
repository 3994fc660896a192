"""Churn without a contract: the probability of no purchase within the horizon.

``train`` fits and calibrates, ``predict`` scores and explains, ``evaluate`` compares with simple
rules, ``card`` tells it. Frames in, frames out; see ``models``.
"""
