"""Bounded summaries of an hour's traffic that merge exactly: of two machines, of two parts of an hour, of the hours of a day."""

from monitoring.summaries.calibration import BINS, P_EDGES, Calibration
from monitoring.summaries.flows import Flows
from monitoring.summaries.grouping import NumberColumn, ValueColumn
from monitoring.summaries.hour import HourSummary, Summary, from_bytes, merged
from monitoring.summaries.numbers import BUCKETS, Grid, Numbers
from monitoring.summaries.series import ALL, FLOW, REST, Series, Slice
from monitoring.summaries.values import MOST_VALUES, Values

__all__ = [
    "ALL",
    "BINS",
    "BUCKETS",
    "FLOW",
    "MOST_VALUES",
    "P_EDGES",
    "REST",
    "Calibration",
    "Flows",
    "Grid",
    "HourSummary",
    "NumberColumn",
    "Numbers",
    "Series",
    "Slice",
    "Summary",
    "ValueColumn",
    "Values",
    "from_bytes",
    "merged",
]
