"""Rebuilds the money of a Redis that lost some of it from the ledger and the archive, and opens what is right."""
