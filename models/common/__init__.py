"""What several models share: errors, metrics, calibration, windows, comparison, the model card,
contributions of trees, and the buy-till-you-die process.

What does not belong here: anything that only one model needs.
"""
