"""Counts what the gateway decides and answers."""

from functools import cache

import numpy as np
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.outcome import Reason
from monitoring import metrics
from serving.gateway.decide import Decided

# Looked up once: finding a labelled counter costs more than counting.
CANDIDATES = {r.value: metrics.CANDIDATES.labels(r.name.lower()) for r in Reason}
DECISIONS, STAGE_SECONDS = cache(metrics.DECISIONS.labels), cache(metrics.STAGE_SECONDS.labels)
RESPONSES = cache(metrics.RESPONSES.labels)


def count_decision(decided: Decided) -> None:
    """Counts one decision: outcome, times, and the fate of its candidates."""
    sold, stages = len(decided.sale.winner), decided.stages
    DECISIONS("filled" if sold == decided.request.n_slots else "partial" if sold else "empty").inc()
    metrics.EXPLORED.inc(decided.sale.explored)
    if decided.request.invalid:
        metrics.INVALID.labels("decision", decided.request.invalid).inc()
    for reasons in (decided.sale.reason, decided.pool.reason):
        times = np.bincount(reasons)
        for code in times.nonzero()[0].tolist():
            CANDIDATES[code].inc(int(times[code]))
    for stage, us in stages.us.items():
        STAGE_SECONDS(stage).observe(us / 1e6)
    metrics.DECISION_SECONDS.observe(stages.total_us / 1e6)


class CountResponses:
    """Counts answers by route and status."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything on as it is."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The router has left the route in the scope; its path is one of a few, where the URL could be anything.
                RESPONSES(getattr(scope.get("route"), "path", "other"), message["status"]).inc()
            await send(message)

        await self._app(scope, receive, counting)
