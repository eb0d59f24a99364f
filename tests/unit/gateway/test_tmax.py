"""Who says how long it waits is not kept waiting by the deadlines of the market."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from domain.luck import Luck
from domain.policy import Deadlines, Policy
from domain.request import DecisionRequest, Placement
from serving.gateway.decide import decide
from serving.gateway.means import Page


@pytest.mark.parametrize(
    ("tmax_ms", "share"),
    [(None, 1.0), (140, 1.0), (10_000, 1.0), (70, 0.5), (1, 1 / 140)],
    ids=["none", "all", "more", "half", "one"],
)
def test_each_stage_has_its_part(tmax_ms: int | None, share: float) -> None:
    assert Deadlines().share_within(tmax_ms) == share


@dataclass
class Timed:
    """Notes how long it may take."""

    timeouts_s: list[float] = field(default_factory=list)

    async def counters(self, shopper_key: str, timeout_s: float) -> Mapping[str, int]:
        self.timeouts_s.append(timeout_s)
        return {}

    async def predict(self, signature: str, version: int | None, inputs: Any, timeout_s: float) -> dict[str, Any]:
        self.timeouts_s.append(timeout_s)
        return {}


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_it_is_the_deadline_of_every_stage(gateway: Any, share: float) -> None:
    gateway.serve_release()
    timed, view = Timed(), gateway.view
    placements = (Placement("main", 2, 0),)
    request = DecisionRequest("id", "s", dict(view.request_defaults), placements, test=True, explain=False, time_share=share)
    ports = replace(gateway.service.ports, shoppers=timed, model=timed)
    asyncio.run(decide(request, view, ports, Luck(1), gateway.now_ms))
    policy: Policy = view.market.policy
    asked = policy.deadlines_ms
    page = Page.of(request, policy, view.catalogue.days.at(gateway.now_ms), 0.0)
    assert [*timed.timeouts_s, page.timeout_s] == [share * ms / 1000 for ms in (asked.shopper, asked.ranking, asked.hold)]


@pytest.mark.parametrize("tmax_ms", [0, -1, 1.5, "80", 10_001])
def test_what_is_no_time_is_refused(gateway: Any, tmax_ms: Any) -> None:
    refused = gateway.call("POST", "/v1/decisions", json={"placements": [{"name": "main"}], "tmax_ms": tmax_ms})
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, "tmax_ms")


def test_a_request_may_say_so(gateway: Any) -> None:
    assert gateway.decide(tmax_ms=80)["placements"][0]["offers"]
