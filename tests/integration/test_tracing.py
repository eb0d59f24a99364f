"""Traces: a request through gateway, Redis and model server, below whatever it came with; nothing where none are asked for."""

import asyncio
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import grpc
import httpx
import numpy as np
import pytest
from collector import collecting
from gateway_process import GOLDEN, GatewayProcess
from open_market import open_market
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from domain.errors import Unavailable
from features.market import load_market
from serving.gateway.adapters import predict_messages as messages
from serving.gateway.adapters.traced import TracedModelClient
from serving.model_server.traced import PREDICT, Traced
from store.ports import free_port

TRACE, ABOVE = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SHOPPER = "a-shopper-who-is-nobody-s-business"


@pytest.fixture
def gateway(tmp_path, redis_url):
    open_market(redis_url, load_market(GOLDEN))

    def start(**settings):
        process = GatewayProcess(GOLDEN, redis_url, tmp_path / "gateway.log", **settings)
        process.environment |= {"OTEL_BSP_SCHEDULE_DELAY": "100"}
        started.append(process)
        process.start()
        return process

    started = []
    yield start
    for process in started:
        if process.child is not None:
            process.end(signal.SIGKILL)


def ask(gateway, **headers):
    body = {"placements": [{"name": "main"}], "shopper": {"key": SHOPPER}}
    answered = httpx.post(f"{gateway.url}/v1/decisions", json=body, headers=gateway.headers | headers)
    assert answered.status_code == 200, answered.text
    return answered.json()


def test_a_decision_is_one_trace_with_its_stages_and_round_trips(gateway):
    with collecting() as collector:
        at_work = gateway(otlp_endpoint=collector.url)
        said = ask(at_work, traceparent=f"00-{TRACE}-{ABOVE}-01")
        spans = collector.until(lambda spans: any(s.above == ABOVE for s in spans))
        (request,) = (s for s in spans if s.above == ABOVE)
        assert request.service == "offerrank-gateway"
        assert request.trace == TRACE
        assert request.said["http.route"] == "/v1/decisions"
        (made,) = (s for s in spans if s.said.get("offerrank.decision_id") == said["decision_id"])
        assert made is request
        assert made.said["offerrank.release"] == "cold-start"
        below = [s for s in spans if s.above == made.id]
        stages = [s for s in sorted(below, key=lambda s: s.begin_ns) if s.name != "redis"]
        names = [s.name for s in stages]
        assert names == ["shopper", "retrieval", "ranking", "auction", "hold"]
        assert all(one.end_ns == following.begin_ns for one, following in pairwise(stages))
        redis = [s for s in spans if s.name == "redis"]
        assert redis
        assert {(s.trace, s.above) for s in redis} == {(TRACE, made.id)}
        assert all(s.said["db.operation.name"] for s in redis)


def test_no_trace_tells_who_the_shopper_is_or_what_a_token_is(gateway):
    with collecting() as collector:
        at_work = gateway(otlp_endpoint=collector.url)
        said = ask(at_work)
        for url in (said["placements"][0]["offers"][0][name] for name in ("impression_url", "click_url")):
            httpx.get(url.replace(at_work.url, at_work.url))
        ask(at_work, traceparent=f"00-{TRACE}-{ABOVE}-01")
        collector.until(lambda spans: any(s.above == ABOVE for s in spans))
        assert not [s for s in collector.spans if "/v1/i" in str(s.said) or "/v1/c" in str(s.said)]
        everything = b"".join(collector.bodies)
        assert SHOPPER.encode() not in everything
        assert b"eyJ" not in everything
        assert at_work.headers["authorization"].removeprefix("Bearer ").encode() not in everything


def test_a_traceparent_that_is_none_or_asks_for_nothing_is_no_error(gateway):
    with collecting() as collector:
        at_work = gateway(otlp_endpoint=collector.url)
        for traceparent in ("", "00-0-0-00", "x" * 4000, f"00-{TRACE}-{ABOVE}-00"):
            ask(at_work, traceparent=traceparent)


def test_a_collector_that_is_away_holds_up_nobody(gateway):
    at_work = gateway(otlp_endpoint=f"http://127.0.0.1:{free_port()}")
    for _ in range(5):
        ask(at_work)
    assert at_work.end(signal.SIGTERM) == 0


def test_an_endpoint_that_is_none_is_refused_and_an_empty_one_is_none(gateway, tmp_path, redis_url):
    ask(gateway(otlp_endpoint=""))
    refused = GatewayProcess(GOLDEN, redis_url, tmp_path / "refused.log", otlp_endpoint="collector:4318")
    with pytest.raises(AssertionError, match="OTLP_ENDPOINT"):
        refused.start()


def test_without_an_endpoint_nothing_of_the_sdk_is_loaded():
    code = (
        "import sys, serving.gateway.server, serving.model_server.server;"
        "sys.exit(any(m.startswith(('opentelemetry.sdk', 'opentelemetry.exporter')) for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code]).returncode == 0


def tracer():
    provider, kept = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return provider.get_tracer("tests"), kept


def predict(request, context):
    response = messages.PredictResponse()
    response.model_spec.version.value = request.model_spec.version.value
    if request.model_spec.signature_name == "broken":
        context.abort(grpc.StatusCode.UNAVAILABLE, "out of order")
    return response


@pytest.fixture
def served():
    """A model server as far as gRPC goes; its address and its spans."""
    traced, kept = tracer()
    _, service, method = PREDICT.split("/")
    handler = grpc.unary_unary_rpc_method_handler(
        predict, messages.PredictRequest.FromString, messages.PredictResponse.SerializeToString
    )
    server = grpc.server(ThreadPoolExecutor(1), interceptors=[Traced(traced)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", kept
    server.stop(None).wait()


def called(address, signature="serving_default"):
    traced, kept = tracer()

    async def call():
        client = TracedModelClient(traced, address)
        try:
            await client.predict(signature, 7, {"amount": np.ones(1, np.float32)}, 5.0)
        finally:
            await client.close()

    with traced.start_as_current_span("request"):
        asyncio.run(call())
    return kept.get_finished_spans()


def test_the_model_server_goes_on_with_the_trace_of_its_caller(served):
    address, kept = served
    client, request = called(address)
    (server,) = kept.get_finished_spans()
    assert (client.name, server.name) == ("Predict", "Predict")
    assert client.parent.span_id == request.context.span_id
    assert (server.parent.span_id, server.context.trace_id) == (client.context.span_id, request.context.trace_id)
    assert server.attributes["offerrank.release"] == "7"
    assert server.attributes["offerrank.signature"] == client.attributes["offerrank.signature"] == "serving_default"


def test_a_call_that_failed_says_so_in_both_spans(served):
    address, kept = served
    with pytest.raises(Unavailable, match="out of order"):
        called(address, "broken")
    (server,) = kept.get_finished_spans()
    assert not server.status.is_ok
