"""Keeps the books of a market in an embedded database beside the archive, and holds them against Redis."""
