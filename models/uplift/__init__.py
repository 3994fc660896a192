"""Uplift: whom a campaign moves, learned from a randomised arm and a control.

What does not belong here: the effect of a campaign as such (``customer360.effect``), and whom to
contact, which is activation's decision.
"""
