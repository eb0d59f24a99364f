"""Adversaries: what is tried against the money, the gateway and its dependencies, and what came of it."""
