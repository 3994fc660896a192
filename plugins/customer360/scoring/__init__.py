"""Scores for any table: reading what a mapping file describes, running ``models``, writing OUT."""
