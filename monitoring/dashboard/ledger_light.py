"""What Prometheus is told of the books."""

import math

from prometheus_client import generate_latest

from monitoring import metrics
from monitoring.ledger_state import LedgerState


def exposition(state: LedgerState | None) -> bytes:
    """The page's metrics in Prometheus's text format; those of books that have not been compared yet are no numbers."""
    metrics.LEDGER_DIFFERENCES.set(state.differences + state.refused if state else math.nan)
    metrics.LEDGER_AGE_SECONDS.set(state.age_s if state else math.nan)
    metrics.BUDGETS_CLOSED.set(state.closed if state else math.nan)
    metrics.BUDGETS_OPEN.set(state.budgets - state.closed if state else math.nan)
    return generate_latest(metrics.PAGE)
