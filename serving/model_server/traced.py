"""A span for each Predict, below that of whoever called: its `traceparent` comes as gRPC metadata."""

from collections.abc import Callable
from typing import Any

import grpc
from opentelemetry.trace import SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

PREDICT = "/tensorflow.serving.PredictionService/Predict"


class Traced(grpc.ServerInterceptor):
    """Of all calls only Predict: status is asked for every second."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer, self._propagator = tracer, TraceContextTextMapPropagator()

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """As gRPC asks for it, once a call."""
        handler = continuation(details)
        if handler is None or details.method != PREDICT:
            return handler
        above = self._propagator.extract({key: value for key, value in details.invocation_metadata if isinstance(value, str)})

        def predict(request: Any, context: grpc.ServicerContext) -> Any:
            said = {"rpc.system": "grpc", "rpc.method": "Predict", "offerrank.signature": request.model_spec.signature_name}
            with self._tracer.start_as_current_span("Predict", above, SpanKind.SERVER, said) as span:
                response = handler.unary_unary(request, context)
                span.set_attribute("offerrank.release", str(response.model_spec.version.value))
                return response

        return grpc.unary_unary_rpc_method_handler(predict, handler.request_deserializer, handler.response_serializer)
