"""The documentation of the warehouse as a folder of pages that need no network."""
