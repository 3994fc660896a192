"""Sentiment of texts, Chinese and English, and what it means for a customer.

Starts from texts that others rated, given as arguments, and from VADER's rules for English;
learns from a company's own rated texts. What does not belong here: finding those corpora on
disk, and what to do about an unhappy customer.
"""
