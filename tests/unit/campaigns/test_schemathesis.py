"""Requests made up from the OpenAPI document, valid and not: no 5xx, no undocumented answer."""

import schemathesis
from campaign_office import Office
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from serving.campaigns.app import create_app
from serving.campaigns.desk import Desk

OPERATOR = {"authorization": "Bearer ann-key"}
CHECKS = (not_a_server_error, status_code_conformance, response_schema_conformance)


def test_every_operation_keeps_its_promises_whatever_it_is_asked(office: Office) -> None:
    app = create_app(Desk(office.shelf.database, office.market, lambda: office.now_ms), office.keys)
    document = schemathesis.openapi.from_asgi("/openapi.json", app, headers=OPERATOR)
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) == 32
    for operation in operations:
        takes_nothing = operation.label in ("GET /healthz", "GET /readyz")
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)[: 1 if takes_nothing else 2]:

            @settings(max_examples=3, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def promise(case: schemathesis.Case) -> None:
                case.call_and_validate(headers=OPERATOR, checks=list(CHECKS))

            promise()
