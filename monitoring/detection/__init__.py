"""Finds what moved, from summaries of hours: pure functions of arrays, and a small state that can be put away.

    distances    how far an hour is from what it is compared with, in the feature's own units
    nulls        how far it would be anyway: at this sample size, and in this market's weather
    evidence     p-values to e-values to run lengths, over all streams together
    betting      calibration in service: bets against E[y] = p
    locating     everywhere or in one slice, which slice, and which feature moved first

What is promised, and how: docs/monitoring.md.
"""
