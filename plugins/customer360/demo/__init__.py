"""A company to try it on: a generated world, ten real systems, and a truth kept apart."""
