"""Traces, for who asks for them: OpenTelemetry's SDK and its exporter, which sends OTLP as JSON over HTTP in a thread of its own.

Off, nothing of the SDK is imported. On, its standard variables say the rest: OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS,
OTEL_BSP_SCHEDULE_DELAY and so on.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

FLUSH_S: Final = 1.0
"""Longest wait, at the end of a process, for a collector."""


@contextmanager
def traced(endpoint: str | None, service: str) -> "Iterator[Tracer | None]":
    """What makes spans meanwhile, for this whole process; None where no traces are asked for.

    Spans that the collector does not take in time are dropped: nobody waits for it.

    Args:
      endpoint: base of the collector's OTLP/HTTP API, without `/v1/traces`.
      service: name of the process, unless OTEL_SERVICE_NAME says another.
    """
    if not endpoint:
        yield None
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME", service)
    provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)  # FastAPI makes its spans by it
    try:
        yield provider.get_tracer("offerrank")
    finally:
        # In a thread: it would try again and again for as long as an export may take, 10 s.
        flush = Thread(target=provider.force_flush, daemon=True)
        flush.start()
        flush.join(FLUSH_S)
        exporter.shutdown()
