"""What the gateway calls, as spans of the request that is under way; what it does in the background is no span."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from opentelemetry.trace import SpanKind, Tracer, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serving.gateway.adapters.model_client import ModelClient
from serving.gateway.adapters.redis_link import RedisLink
from serving.gateway.adapters.redis_servers import Command
from serving.gateway.decide import Decided


class TracedLink(RedisLink):
    """A span for each round trip."""

    def __init__(self, tracer: Tracer, url: str, verified: str | None = None) -> None:
        super().__init__(url, verified)
        self._tracer = tracer

    async def _send(self, commands: Sequence[Command], timeout_s: float) -> list[Any]:
        if not get_current_span().is_recording():
            return await super()._send(commands, timeout_s)
        names = dict.fromkeys(str(command[0][0]) for command in commands)
        said: dict[str, str | int] = {
            "db.system.name": "redis",
            "db.operation.name": " ".join(names),
            "db.operation.batch.size": len(commands),
        }
        with self._tracer.start_as_current_span("redis", kind=SpanKind.CLIENT, attributes=said):
            return await super()._send(commands, timeout_s)


class TracedModelClient(ModelClient):
    """A span for each Predict, whose `traceparent` goes along as gRPC metadata."""

    def __init__(self, tracer: Tracer, target: str) -> None:
        super().__init__(target)
        self._tracer, self._propagator = tracer, TraceContextTextMapPropagator()

    def _connect(self) -> None:
        super()._connect()
        predict, said = self._predict, {"rpc.system": "grpc", "rpc.method": "Predict", "server.address": self.target}

        async def call(request: Any, timeout: float) -> Any:
            signature = {"offerrank.signature": request.model_spec.signature_name}
            with self._tracer.start_as_current_span("Predict", kind=SpanKind.CLIENT, attributes=said | signature):
                metadata: dict[str, str] = {}
                self._propagator.inject(metadata)
                answered: Awaitable[Any] = predict(request, timeout=timeout, metadata=tuple(metadata.items()))
                return await answered

        self._predict = call


def trace_stages(tracer: Tracer) -> Callable[[Decided], None]:
    """Makes spans of the stages of a decision that has just been made, one after the other.

    A stage that was passed more than once, as the auction where a budget ran out, is one span.
    """

    def trace(decided: Decided) -> None:
        span = get_current_span()
        if not span.is_recording():
            return
        stages = decided.stages
        span.set_attribute("offerrank.decision_id", decided.request.decision_id)
        span.set_attribute("offerrank.release", str(decided.ranked_by or "cold-start"))
        span.set_attribute("offerrank.candidates", len(decided.live))
        span.set_attribute("offerrank.degraded", stages.degraded)
        at_ns = time.time_ns() - 1000 * stages.total_us
        for stage, us in stages.us.items():
            of_stage = tracer.start_span(stage, start_time=at_ns)
            at_ns += 1000 * us
            of_stage.end(at_ns)

    return trace
