"""Implementations of the ports: Redis, the model server, releases on disk."""
