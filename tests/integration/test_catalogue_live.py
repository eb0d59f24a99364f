"""A catalogue that is changed while a gateway sells from it, a pacer paces it, and its database comes and goes."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Any

import httpx
import pytest
import redis
from gateway_process import GatewayProcess
from known_catalogue import GOLDEN, MARKET, Shelf, campaign, everything, offer
from open_market import paced

from catalogue.address import sqlite_url
from catalogue.repository import Edit
from domain.clock import budget_day, now_ms
from domain.keys import Keys
from features.log_entry import decision_json
from store.key_records import Role
from store.ports import free_port

KEYS = Keys(MARKET.name)
PATIENCE_S = 60.0


@dataclass
class Shop:
    """A gateway and a pacer that follow a catalogue."""

    gateway: GatewayProcess
    shelf: Shelf
    folder: Path
    redis_url: str

    def standing(self) -> dict[str, Any]:
        return dict(httpx.get(f"{self.gateway.url}/readyz").json()["catalogue"])

    def sold(self) -> list[str]:
        return [o["offer_id"] for o in self.gateway.decide()["placements"][0]["offers"]]

    def bought(self, offer_id: str) -> str:
        """The token of an offer on a page."""
        offers = eventually(lambda: [o for o in self.gateway.decide()["placements"][0]["offers"] if o["offer_id"] == offer_id])
        return str(offers[0]["token"])

    def budget(self, name: str) -> dict[str, str]:
        with redis.Redis.from_url(self.redis_url, decode_responses=True) as client:
            return dict(client.hgetall(KEYS.budget(name, budget_day(now_ms(), MARKET.policy.day_length_s))))


def eventually(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


@pytest.fixture
def shop(redis_url: str, tmp_path: Path) -> Iterator[Shop]:
    shelf = Shelf(sqlite_url(tmp_path / "catalogue.sqlite"))
    followed = {"catalogue": shelf.url, "catalogue_snapshot": tmp_path / "kept"}
    gateway = GatewayProcess(GOLDEN, redis_url, tmp_path / "gateway.log", **followed)
    with paced(redis_url, GOLDEN, **followed):
        gateway.start()
        yield Shop(gateway, shelf, tmp_path, redis_url)
        gateway.end(SIGTERM)
        shelf.database.close()


def test_what_is_changed_is_sold_at_once_and_every_decision_says_by_which_version(shop: Shop) -> None:
    assert shop.standing() == {"version": 0, "followed": True}
    assert shop.sold() == ["gamma-trip", "alpha-shoes"]  # as the market file lists

    shop.shelf.change(*everything())
    eventually(lambda: shop.standing()["version"] == 1)
    assert shop.sold() == ["gamma-trip", "alpha-shoes"]

    # A campaign that outbids all, with the first offer ever of it, and a house campaign that ends.
    new = campaign("rich", advertiser="rich", bid_kind="cpm", bid_micros=90_000_000, daily_budget_micros=500_000_000)
    shop.shelf.change(new, offer("rich-offer", campaign="rich", landing_url="https://rich.example/"))
    token = shop.bought("rich-offer")
    assert shop.budget("rich")["limit"] == "500000000"
    assert shop.gateway.report("impression", token)["status"] == "settled"

    # Its budget, lowered below what is spent: it sells nothing more, and nothing is charged back.
    spent = int(shop.budget("rich")["spent"])
    assert spent > 0
    lower = campaign("rich", advertiser="rich", bid_kind="cpm", bid_micros=90_000_000, daily_budget_micros=spent - 1)
    shop.shelf.change(lower)
    eventually(lambda: shop.budget("rich")["limit"] == str(spent - 1))
    eventually(lambda: "rich-offer" not in shop.sold())
    assert int(shop.budget("rich")["spent"]) == spent

    # A campaign taken out with a click outstanding: it is sold no more, and the conversion is charged as the token says.
    token = shop.bought("gamma-trip")
    for event in ("impression", "click"):
        shop.gateway.report(event, token)
    shop.shelf.change(Edit("offer", "gamma-trip", None), Edit("campaign", "gamma-sales", None))
    eventually(lambda: shop.standing()["version"] == 4)
    assert "gamma-trip" not in shop.sold()
    charged = shop.gateway.report("conversion", token)
    assert charged["status"] in ("settled", "late_settled")
    assert charged["charged_micros"] > 0

    with redis.Redis.from_url(shop.redis_url) as client:
        logged = eventually(
            lambda: {json.loads(decision_json(e))["catalogue"] for _, e in client.xrange(KEYS.decisions)} >= {0, 1, 4}
        )
    assert logged


def test_without_its_database_everything_goes_on_with_the_last_catalogue_also_over_a_restart(shop: Shop) -> None:
    shop.shelf.change(*everything())
    shop.shelf.change(offer("alpha-shoes", title="Boots"))
    eventually(lambda: shop.standing() == {"version": 2, "followed": True})
    shop.shelf.database.close()
    hidden = shop.folder / "hidden"
    hidden.mkdir()
    for part in shop.folder.glob("catalogue.sqlite*"):
        part.rename(hidden / part.name)
    eventually(lambda: shop.standing() == {"version": 2, "followed": False})
    assert shop.sold() == ["gamma-trip", "alpha-shoes"]

    shop.gateway.end(SIGTERM)
    shop.gateway.start()
    eventually(lambda: shop.standing() == {"version": 2, "followed": False})
    titles = [o["title"] for o in shop.gateway.decide()["placements"][0]["offers"]]
    assert titles == ["A week by the sea", "Boots"]

    for part in hidden.iterdir():
        part.rename(shop.folder / part.name)
    shop.shelf.change(Edit("offer", "alpha-shoes", None))
    eventually(lambda: shop.standing() == {"version": 3, "followed": True})
    assert "alpha-shoes" not in shop.sold()


@pytest.fixture
def campaign_api(shop: Shop) -> Iterator[httpx.Client]:
    """The process of the campaign API, as an operator asks it."""
    port = free_port()
    environment = shop.gateway.environment | {"OFFERRANK_PORT": str(port)}
    with (shop.folder / "campaigns.log").open("wb") as log:
        child = subprocess.Popen([sys.executable, "-m", "serving.campaigns"], env=environment, stdout=log, stderr=log)
    operator = {"authorization": f"Bearer {shop.gateway.keys[Role.OPERATOR]}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=operator, timeout=PATIENCE_S) as client:
        eventually(lambda: _answers(client))
        yield client
    child.send_signal(SIGTERM)
    assert child.wait(PATIENCE_S) == 0


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_a_campaign_that_is_paused_by_the_api_is_on_no_page_and_a_resumed_one_is(shop: Shop, campaign_api: httpx.Client) -> None:
    assert campaign_api.get("/v1/campaigns").json()["error"]["field"] == "catalogue"
    assert campaign_api.post("/v1/import").json() == {"version": 1, "entries": 14}
    assert "gamma-trip" in eventually(shop.sold)
    paused = campaign_api.post("/v1/campaigns/gamma-sales/pause", params={"why": "out of stock"}).json()
    assert paused["state"] == "paused"
    eventually(lambda: shop.standing()["version"] == paused["version"])
    assert "gamma-trip" not in shop.sold()
    resumed = campaign_api.post("/v1/campaigns/gamma-sales/resume").json()
    eventually(lambda: shop.standing()["version"] == resumed["version"])
    assert "gamma-trip" in shop.sold()
    rejected = campaign_api.patch("/v1/offers/gamma-trip", json={"review": "rejected"}, headers={"if-match": "*"}).json()
    eventually(lambda: shop.standing()["version"] == rejected["version"])
    assert "gamma-trip" not in shop.sold()

    shop.shelf.database.close()
    path = shop.folder / "catalogue.sqlite"
    for part in shop.folder.glob("catalogue.sqlite*"):
        part.unlink()
    path.mkdir()  # no file can be opened there: the database is away
    away = campaign_api.post("/v1/pause")
    assert (away.status_code, away.headers["retry-after"]) == (503, "2")
    assert shop.sold()  # gateways go on
