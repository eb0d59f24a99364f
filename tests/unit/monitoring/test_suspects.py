"""Suspects are found among honest traffic of every size, and the honest are not."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitoring.suspects import COLUMNS, HOUR_MS, charges_once, find_suspects

PRICE = 250_000


class Log:
    """Events as the archive has them."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.rows: list[dict[str, Any]] = []

    def show(self, hour: int, clicked: bool, **who: object) -> str:
        """One impression, with or without a charged click; its id."""
        impression = f"i{len(self.rows)}"
        at_ms = hour * HOUR_MS + int(self.rng.integers(HOUR_MS - 1000))
        self._add("impression", "logged", 0, impression, at_ms, who)
        if clicked:
            self._add("click", "settled", PRICE, impression, at_ms + 500, who)
        return impression

    def _add(self, kind: str, status: str, charged: int, impression: str, at_ms: int, who: dict[str, object]) -> None:
        row = {
            **{"type": kind, "status": status, "charged_micros": charged, "impression_id": impression, "time_ms": at_ms},
            **{"event_id": f"{impression}.{kind}", "campaign_id": "c1", "day": 1, "offer_id": "o1", "placement": "main"},
            **{"shopper_key": f"s{impression}", "asked_by": "shop", "client": f"a{impression}"},
        }
        self.rows.append(row | who)

    def back(self, impression: str) -> None:
        self._add("adjustment", "returned", -PRICE, impression, 0, {})

    def honest(self, hours: int = 6, offers: int = 8, pages: int = 400) -> "Log":
        """Offers click between 2 and 10 %, shoppers come once or a few times, some addresses are a whole office's."""
        rates = np.linspace(0.02, 0.10, offers)
        for hour in range(hours):
            for page in range(pages):
                offer, home = page % offers, int(self.rng.integers(3000))
                client = f"office{home % 3}" if home < 60 else f"home{home}"
                self.show(
                    hour, bool(self.rng.random() < rates[offer]), offer_id=f"o{offer}", shopper_key=f"s{home}", client=client
                )
        return self

    def table(self, rows: Iterable[dict[str, Any]] | None = None) -> pa.Table:
        schema = pa.schema([*COLUMNS.items(), ("placement", pa.string())])
        return pa.Table.from_pylist(list(self.rows if rows is None else rows), schema)


def found(log: Log, **options: Any) -> set[tuple[str, str, str]]:
    return {(s.dimension, s.value, s.measure) for s in find_suspects(log.table(), **options)}


@pytest.mark.parametrize("seed", range(5))
def test_honest_traffic_has_no_suspects(seed: int) -> None:
    assert found(Log(seed).honest()) == set()


def test_an_address_that_clicks_all_it_sees_is_found_with_what_it_cost() -> None:
    log = Log().honest()
    for i in range(40):  # below every rate: 40 in an hour, each as another shopper
        log.show(3, True, client="bot", shopper_key=f"new{i}", offer_id=f"o{i % 8}")
    suspects = [s for s in find_suspects(log.table()) if s.dimension == "address"]
    assert {(s.value, s.measure, s.hour_ms // HOUR_MS, s.clicks, s.impressions) for s in suspects} == {
        ("bot", "rate", 3, 40, 40),
        ("bot", "clicks", 3, 40, 40),
    }
    assert all(s.charged_micros == 40 * PRICE and s.usual < 5 for s in suspects)


def test_a_shopper_who_clicks_all_it_sees_is_found() -> None:
    log = Log().honest()
    for i in range(15):  # fewer than others may click, but all that it saw
        log.show(2, True, shopper_key="eager", client=f"far{i}")
    assert {f for f in found(log) if f[0] == "shopper"} == {("shopper", "eager", "rate")}


def test_an_offer_a_placement_and_a_key_are_found_by_their_rate() -> None:
    log = Log().honest(hours=6, offers=8)
    peers = {"asked_by": [f"key{k}" for k in range(6)], "placement": [f"p{k}" for k in range(6)]}
    for i, row in enumerate(log.rows):
        row |= {"asked_by": peers["asked_by"][(i // 7) % 6], "placement": peers["placement"][(i // 11) % 6]}
    for i in range(60):
        who = {"offer_id": "o3", "placement": "p2", "asked_by": "key4"}
        log.show(4, True, shopper_key=f"new{i}", client=f"new{i}", **who)
    dimensions = {(d, v) for d, v, m in found(log) if m == "rate"}
    assert {("offer", "o3"), ("placement", "p2"), ("key", "key4")} <= dimensions
    assert all(s.hour_ms == 4 * HOUR_MS for s in find_suspects(log.table()))


def test_many_robots_do_not_make_robots_usual() -> None:
    log = Log().honest()
    for bot in range(30):
        for i in range(30):
            log.show(bot % 6, True, client=f"bot{bot}", shopper_key=f"{bot}-{i}", offer_id=f"o{i % 8}")
    assert {v for d, v, _ in found(log) if d == "address"} == {f"bot{b}" for b in range(30)}


def test_what_was_marked_or_taken_back_is_left_out() -> None:
    log = Log().honest()
    taken_back = [log.show(3, True, client="bot", shopper_key=f"new{i}") for i in range(40)]
    for impression in taken_back[:30]:
        log.back(impression)
    (rate, *_) = [s for s in find_suspects(log.table()) if s.dimension == "address"]
    assert rate.charged_micros == 10 * PRICE
    marked = [row | ({"status": "invalid"} if row["client"] == "bot" else {}) for row in log.rows]
    assert [s for s in find_suspects(log.table(marked)) if s.dimension == "address"] == []


def test_a_charge_is_listed_once_with_its_most_unusual_suspect() -> None:
    log = Log().honest()
    for _ in range(40):
        log.show(3, True, client="bot", shopper_key="bot", offer_id="o1")
    suspects = find_suspects(log.table())
    assert {("address", "bot"), ("shopper", "bot")} <= {(s.dimension, s.value) for s in suspects}
    charges = [(s.z, row["impression_id"]) for s, row in charges_once(suspects)]
    assert len(charges) == len({i for _, i in charges}) >= 40
    assert charges == sorted(charges, key=lambda c: -c[0])


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_log_of_next_to_nothing_has_no_suspects(rows: int) -> None:
    log = Log()
    for i in range(rows):
        log.show(0, True, client=None if i else "", shopper_key=None)
    assert find_suspects(log.table()) == []


def test_without_reported_impressions_the_number_of_clicks_remains() -> None:
    log = Log().honest()
    for i in range(40):
        log.show(3, True, client="bot", shopper_key=f"new{i}")
    clicks = [row for row in log.rows if row["type"] == "click"]
    assert [(s.dimension, s.value, s.measure) for s in find_suspects(log.table(clicks))] == [("address", "bot", "clicks")]
