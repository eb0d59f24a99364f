"""What is summarised, and of which part of the traffic."""

from typing import NamedTuple


class Slice(NamedTuple):
    """Part of the traffic: all of it, or what has one value of one of the market's slices."""

    by: str
    """A feature, `placement`, `campaign`, `position` or `partner`; "" for all traffic."""
    value: str


ALL = Slice("", "")
REST = "*"
"""Value that stands for those of a slice that are too many to be kept each on its own; no feature's text is it."""


class Series(NamedTuple):
    """What is summarised."""

    kind: str
    """`feature`: as used; `probability`: of what was shown, calibrated; `latency`: in us; `flow`: all counters of the traffic and
    its money; `calibration`: of rows whose label is final."""
    name: str
    """A feature, a task, a stage; "" of the flow."""


FLOW = Series("flow", "")
