"""Requests made up from the OpenAPI document, valid and not: no 5xx, no undocumented answer, nothing invalid accepted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth

from serving.gateway.app import create_app
from serving.gateway.service import Service

OPERATIONS = (
    "POST /v1/decisions",
    "GET /v1/decisions/{decision_id}/explain",
    "POST /v1/events",
    "GET /v1/i/{token}",
    "GET /v1/c/{token}",
    "GET /sdk/offerrank.js",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
)
OPERATOR = {"authorization": "Bearer operator-key"}


@pytest.fixture
def document(gateway):
    @asynccontextmanager
    async def opened() -> AsyncIterator[Service]:
        yield gateway.service

    app = create_app(gateway.view.market, opened)
    app.state.service = gateway.service
    return schemathesis.openapi.from_asgi("/openapi.json", app, headers=OPERATOR)


def test_all_operations_are_tried(document):
    assert tuple(o.ok().label for o in document.get_all_operations()) == OPERATIONS


@pytest.mark.parametrize(
    ("label", "mode"),
    [(o, GenerationMode.POSITIVE) for o in OPERATIONS]
    + [(o, GenerationMode.NEGATIVE) for o in OPERATIONS if o.startswith("POST")],
)
def test_an_operation_keeps_its_promises(document, label, mode):
    operation = next(o.ok() for o in document.get_all_operations() if o.ok().label == label)

    @settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def promise(case):
        # That check leaves the header on while it takes away the other places for a key; test_access.py does it right.
        case.call_and_validate(headers=OPERATOR, excluded_checks=[ignored_auth])

    promise()
