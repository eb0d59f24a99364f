"""The campaign API's client: what it sends again, with which key, and what it makes of answers."""

import json
from collections.abc import Callable

import httpx
import pytest

from domain.campaign import Campaign
from offerrank.client import ApiError, CampaignClient

SPRING = Campaign.model_validate({"id": "spring", "advertiser": "acme", "bid_kind": "cpc", "bid_micros": 400_000})
HELD = {
    "campaign": SPRING.model_dump(mode="json") | {"of_a_newer_api": 1},
    **{"version": 2, "state": "live", "offers": 3, "changed": {"at": "2027-01-15T08:00:00.000Z", "by": "ann"}},
}


def client(*answers: Callable[[httpx.Request], httpx.Response]) -> tuple[CampaignClient, list[httpx.Request]]:
    """Answered one by one, and what it has asked."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answers[len(asked) - 1](request)

    return CampaignClient("http://campaigns", "a key", transport=httpx.MockTransport(answer)), asked


def lost(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("Connection reset by peer", request=request)


def away(_: httpx.Request) -> httpx.Response:
    error = {"field": "catalogue", "message": "the database is away"}
    return httpx.Response(503, json={"error": error}, headers={"retry-after": "0"})


def held(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=HELD)


def test_a_change_whose_answer_was_lost_is_sent_again_with_the_same_key() -> None:
    api, asked = client(lost, away, held, held)
    with api:
        changed = api.campaigns.patch("spring", {"bid_micros": 450_000}, version=1, why="Ostern, früh")
        api.campaigns.patch("spring", {"bid_micros": 450_000}, version=None)
    assert (changed.record, changed.version, changed.state, changed.children, changed.changed_by) == (SPRING, 2, "live", 3, "ann")
    keys = [r.headers["idempotency-key"] for r in asked]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert [r.headers["if-match"] for r in asked] == ['"1"', '"1"', '"1"', "*"]
    assert (asked[0].method, json.loads(asked[0].content), asked[0].url.params["why"]) == (
        *("PATCH", {"bid_micros": 450_000}, "Ostern, früh"),
    )


def test_pages_are_followed_to_the_end() -> None:
    pages = [{"items": [HELD, HELD], "next": "x"}, {"items": [], "next": "y"}, {"items": [HELD], "next": None}]
    api, asked = client(*(lambda _, page=page: httpx.Response(200, json=page) for page in pages))
    with api:
        assert len(list(api.campaigns.list(status="live", advertiser=None, page=2))) == 3
    assert [dict(r.url.params) for r in asked] == [
        {"status": "live", "limit": "2"} | more for more in ({}, {"cursor": "x"}, {"cursor": "y"})
    ]


def test_what_is_refused_is_said_with_field_and_value() -> None:
    error = {"field": "bid_micros", "message": "expected at least 1", "got": 0}
    api, _ = client(lambda _: httpx.Response(422, json={"error": error, "errors": [{"error": error}]}))
    with api, pytest.raises(ApiError, match="bid_micros: expected at least 1, got 0") as refused:
        api.campaigns.create(SPRING)
    assert (refused.value.status, refused.value.errors) == (422, ({"error": error},))


@pytest.mark.parametrize("answer", [lambda _: httpx.Response(200, text="<html>"), lambda _: httpx.Response(404, json=[1])])
def test_what_is_no_campaign_api_is_called_so(answer: Callable[[httpx.Request], httpx.Response]) -> None:
    api, _ = client(answer)
    with api, pytest.raises(ApiError, match="is no campaign API"):
        api.me()


def test_one_that_does_not_answer_is_named() -> None:
    api, asked = client(lost, lost, lost)
    with api, pytest.raises(ApiError, match="http://campaigns: does not answer: Connection reset by peer"):
        api.campaigns.get("spring")
    assert len(asked) == 3
