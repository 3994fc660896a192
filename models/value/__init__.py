"""What customers without a contract will buy within a horizon: orders, spend, interval, tier."""
