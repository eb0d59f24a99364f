"""What an operator sees: metrics, page, alerts."""
