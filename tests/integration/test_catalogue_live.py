"""A catalogue that is changed while a gateway sells from it, a pacer paces it, and its database comes and goes."""

import json
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
