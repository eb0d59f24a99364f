"""Measurements, to be run by hand: they print numbers and assert nothing."""
