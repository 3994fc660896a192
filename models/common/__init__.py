"""What every model shares: errors, metrics, calibration, comparison and the model card.

What does not belong here: anything that knows what is being predicted.
"""
