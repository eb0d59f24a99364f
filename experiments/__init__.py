"""Exploration, assignment and the statistics behind them. Pure."""
