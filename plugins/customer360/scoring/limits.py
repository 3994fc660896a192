"""What the training of each model may take, readable without importing any of them."""

MEMORY_GIB: dict[str, float] = {
    "churn": 3.0,
    "value": 3.0,
    "personas": 2.0,
    "sentiment": 2.0,
    "channels": 2.0,
}
"""Model of the chain -> memory of its training task."""
