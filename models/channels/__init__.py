"""Channel preference: where and when a customer answers.

What does not belong here: whether one may contact the customer (consent, caps, quiet hours),
which is activation's matter.
"""
