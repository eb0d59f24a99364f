"""What a reconciliation found, as the hash in Redis that the page and the metrics read."""

import orjson

from features.market import Market
from serving.ledger.reconcile import Reconciliation

SHOWN = 20
"""Differences that are listed; all are counted."""


def report(found: Reconciliation, market: Market, at_ms: int, interval_s: float, refused: int) -> dict[str, str | int | float]:
    """Fields of the hash; docs/redis.md describes each."""
    worst = sorted(found.differences, key=lambda a: abs(a.charged_micros - a.spent_micros), reverse=True)[:SHOWN]
    return {
        "at_ms": at_ms,
        "interval_s": interval_s,
        "accounts": len(found.accounts),
        "differences": len(found.differences),
        "difference_micros": sum(abs(a.charged_micros - a.spent_micros) for a in found.differences),
        "worst": orjson.dumps([[a.campaign, a.day, a.charged_micros, a.spent_micros] for a in worst]).decode(),
        "refused": refused,
        "budgets": len(market.campaigns),
        "closed": len(found.closed(c.id for c in market.campaigns)),
    }
